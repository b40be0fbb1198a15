// The messages of the open conversation. It follows the newest as long as the reader is at the end.

import { byId, plural } from "./dom.js";
import { continues, renderEntry } from "./entries.js";

/** So near to the end counts as at the end. */
const NEAR_PX = 40;

export class LogView {
  #chat;
  #actions;
  #scroller = byId("log");
  #list = byId("entries");
  #jump = byId("jump");
  #conversation = null;
  /** Entry to element, of what is shown. */
  #elements = new Map();
  #entries = new WeakMap();
  /** Whether the reader is at the end. */
  #pinned = true;
  #top = 0;
  #below = 0;

  constructor(chat, actions) {
    this.#chat = chat;
    this.#actions = actions;
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#jump.addEventListener("click", () => this.#toEnd());
    // A keyboard that slides in must not hide what was just said.
    new ResizeObserver(() => this.#pinned && this.#toEnd()).observe(this.#scroller);
    chat.addEventListener("shown", ({ detail }) => this.#show(detail));
    const ours = (event, act) => event.detail.conversation === this.#conversation && act(event.detail);
    chat.addEventListener("added", (event) => ours(event, (detail) => this.#added(detail)));
    chat.addEventListener("changed", (event) => ours(event, ({ entry }) => this.#changed(entry)));
    chat.addEventListener("removed", (event) => ours(event, ({ entry }) => this.#removed(entry)));
    chat.addEventListener("marker", (event) => ours(event, () => this.#unmark()));
  }

  #show(conversation) {
    if (this.#conversation) this.#conversation.scroll = this.#pinned ? null : this.#scroller.scrollTop;
    this.#conversation = conversation;
    // Not news: a screen reader is to hear only what comes from now on.
    this.#scroller.setAttribute("aria-busy", "true");
    this.#elements.clear();
    this.#list.replaceChildren();
    for (const entry of conversation?.entries ?? []) this.#place(entry, null);
    this.#scroller.setAttribute("aria-label", conversation ? `Messages in ${conversation.title}` : "Messages");
    this.#restore();
    setTimeout(() => this.#scroller.removeAttribute("aria-busy"), 100);
  }

  /** To the first unread message, or to where the reader was. */
  #restore() {
    this.#below = 0;
    this.#toEnd();
    const unread = this.#elements.get(this.#conversation?.firstUnread);
    if (unread) unread.scrollIntoView({ block: "center" });
    else if (this.#conversation?.scroll != null) this.#scroller.scrollTop = this.#conversation.scroll;
    this.#scrolled();
  }

  #added({ entry, before }) {
    this.#place(entry, before);
    if (this.#pinned || entry.own) return this.#toEnd();
    if (entry.kind === "message") this.#below++;
    this.#showJump();
  }

  #place(entry, before) {
    const element = renderEntry(entry, this.#actions);
    element.classList.toggle("first-unread", entry === this.#conversation.firstUnread);
    this.#elements.set(entry, element);
    this.#entries.set(element, entry);
    this.#list.insertBefore(element, this.#elements.get(before) ?? null);
    this.#group(element);
    this.#group(element.nextElementSibling);
  }

  #changed(entry) {
    const old = this.#elements.get(entry);
    if (!old) return;
    const element = renderEntry(entry, this.#actions);
    this.#elements.set(entry, element);
    this.#entries.set(element, entry);
    old.replaceWith(element);
    this.#group(element);
    if (this.#pinned) this.#toEnd();
  }

  #removed(entry) {
    const element = this.#elements.get(entry);
    if (!element) return;
    const next = element.nextElementSibling;
    this.#elements.delete(entry);
    element.remove();
    this.#group(next);
  }

  /** A message right below another of the same sender needs no name. */
  #group(element) {
    if (!element) return;
    const above = element.previousElementSibling;
    const grouped = above !== null && continues(this.#entries.get(element), this.#entries.get(above));
    element.classList.toggle("grouped", grouped);
  }

  #unmark() {
    this.#list.querySelector(".first-unread")?.classList.remove("first-unread");
  }

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#top = this.#scroller.scrollTop;
    this.#pinned = true;
    this.#below = 0;
    this.#showJump();
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    const near = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    // Only who scrolls up leaves the end; a log that became smaller has not been scrolled.
    this.#pinned = near || (this.#pinned && scrollTop >= this.#top);
    this.#top = scrollTop;
    if (this.#pinned) this.#below = 0;
    this.#showJump();
  }

  #showJump() {
    this.#jump.hidden = this.#pinned;
    byId("jump-text").textContent = this.#below > 0 ? plural(this.#below, "new message") : "Latest messages";
  }
}
