// The messages of the open conversation, drawn once a frame. It follows the newest as long as the reader is at the end.

import { byId, plural } from "./dom.js";
import { continues, renderEntry } from "./entries.js";
import { onceAFrame } from "./frames.js";

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
  /** Entries that are no more as their elements show them. */
  #changed = new Set();
  /** Whether the reader has just said something, which is to be seen. */
  #follow = false;
  #drawSoon = onceAFrame(() => this.#draw());
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
    const ours = (type, act) => {
      chat.addEventListener(type, ({ detail }) => {
        if (detail.conversation !== this.#conversation) return;
        act(detail.entry);
        this.#drawSoon();
      });
    };
    ours("added", (entry) => this.#added(entry));
    ours("changed", (entry) => this.#changed.add(entry));
    ours("removed", () => {});
    ours("marker", () => {});
  }

  #show(conversation) {
    if (this.#conversation) this.#conversation.scroll = this.#pinned ? null : this.#scroller.scrollTop;
    this.#conversation = conversation;
    // Not news: a screen reader is to hear only what comes from now on.
    this.#scroller.setAttribute("aria-busy", "true");
    this.#elements.clear();
    this.#changed.clear();
    this.#list.replaceChildren();
    // All of it is new, and so is the place to look at.
    this.#pinned = this.#follow = false;
    this.#draw();
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

  #added(entry) {
    if (entry.own) this.#follow = true;
    else if (!this.#pinned && entry.kind === "message") this.#below++;
  }

  /** Makes the elements those of the entries. One that is in its place stays: a selection in it, or the focus. */
  #draw() {
    const entries = this.#conversation?.entries ?? [];
    const kept = new Set(entries);
    for (const [entry, element] of this.#elements) {
      if (kept.has(entry) && !this.#changed.has(entry)) continue;
      element.remove();
      this.#elements.delete(entry);
    }
    this.#changed.clear();
    let next = this.#list.firstElementChild;
    let above = null;
    for (const entry of entries) {
      const element = this.#element(entry);
      element.classList.toggle("first-unread", entry === this.#conversation.firstUnread);
      // A message right below another of the same sender needs no name.
      element.classList.toggle("grouped", continues(entry, above));
      if (element === next) next = next.nextElementSibling;
      else this.#list.insertBefore(element, next);
      above = entry;
    }
    if (this.#pinned || this.#follow) this.#toEnd();
    else this.#showJump();
  }

  #element(entry) {
    const known = this.#elements.get(entry);
    if (known) return known;
    const element = renderEntry(entry, this.#actions);
    this.#elements.set(entry, element);
    return element;
  }

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#top = this.#scroller.scrollTop;
    this.#pinned = true;
    this.#follow = false;
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
