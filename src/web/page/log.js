// The log shows the open conversation. It scrolls to new messages while the reader is at the end.

import { byId, plural } from "./dom.js";
import { isGrouped, renderEntry } from "./entries.js";
import { oncePerFrame } from "./frames.js";

/** Distance from the end that still counts as the end. */
const NEAR_PX = 40;

export class LogView {
  #chat;
  #actions;
  #scroller = byId("log");
  #list = byId("entries");
  #jump = byId("jump");
  #conversation = null;
  /** Elements of the shown entries, by entry. */
  #elements = new Map();
  /** Entries whose elements are out of date. */
  #changed = new Set();
  /** Whether the next draw scrolls to the reader's own new message. */
  #showsOwn = false;
  #drawSoon = oncePerFrame(() => this.#draw());
  /** Whether the reader is at the end. */
  #pinned = true;
  #lastScrollTop = 0;
  #below = 0;

  constructor(chat, actions) {
    this.#chat = chat;
    this.#actions = actions;
    this.#scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    this.#jump.addEventListener("click", () => this.#scrollToEnd());
    // An on-screen keyboard must not hide the latest message.
    new ResizeObserver(() => this.#pinned && this.#scrollToEnd()).observe(this.#scroller);
    chat.addEventListener("shown", ({ detail }) => this.#show(detail));
    const onChange = (type, act) => {
      chat.addEventListener(type, ({ detail }) => {
        if (detail.conversation !== this.#conversation) return;
        act(detail.entry);
        this.#drawSoon();
      });
    };
    onChange("added", (entry) => this.#onAdded(entry));
    onChange("changed", (entry) => this.#changed.add(entry));
    onChange("removed", () => {});
    onChange("marker", () => {});
  }

  #show(conversation) {
    if (this.#conversation) this.#conversation.scroll = this.#pinned ? null : this.#scroller.scrollTop;
    this.#conversation = conversation;
    // Screen readers must announce only messages that arrive from now on.
    this.#scroller.setAttribute("aria-busy", "true");
    this.#elements.clear();
    this.#changed.clear();
    this.#list.replaceChildren();
    // The scroll position is restored below, so the draw must not scroll.
    this.#pinned = this.#showsOwn = false;
    this.#draw();
    this.#scroller.setAttribute("aria-label", conversation ? `Messages in ${conversation.title}` : "Messages");
    this.#restore();
    setTimeout(() => this.#scroller.removeAttribute("aria-busy"), 100);
  }

  /** Scrolls to the first unread message, or to the last position. */
  #restore() {
    this.#below = 0;
    this.#scrollToEnd();
    const unread = this.#elements.get(this.#conversation?.firstUnread);
    if (unread) unread.scrollIntoView({ block: "center" });
    else if (this.#conversation?.scroll != null) this.#scroller.scrollTop = this.#conversation.scroll;
    this.#onScroll();
  }

  #onAdded(entry) {
    if (entry.own) this.#showsOwn = true;
    else if (!this.#pinned && entry.kind === "message") this.#below++;
  }

  /** Updates the elements to match the entries. An element in its place is not moved, so it keeps the selection and focus. */
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
      // A message directly below one of the same sender is shown without a name.
      element.classList.toggle("grouped", isGrouped(entry, above));
      if (element === next) next = next.nextElementSibling;
      else this.#list.insertBefore(element, next);
      above = entry;
    }
    if (this.#pinned || this.#showsOwn) this.#scrollToEnd();
    else this.#showJump();
  }

  #element(entry) {
    const known = this.#elements.get(entry);
    if (known) return known;
    const element = renderEntry(entry, this.#actions);
    this.#elements.set(entry, element);
    return element;
  }

  #scrollToEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#lastScrollTop = this.#scroller.scrollTop;
    this.#pinned = true;
    this.#showsOwn = false;
    this.#below = 0;
    this.#showJump();
  }

  #onScroll() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    const near = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    // Only scrolling up leaves the end. A log that has shrunk was not scrolled.
    this.#pinned = near || (this.#pinned && scrollTop >= this.#lastScrollTop);
    this.#lastScrollTop = scrollTop;
    if (this.#pinned) this.#below = 0;
    this.#showJump();
  }

  #showJump() {
    this.#jump.hidden = this.#pinned;
    byId("jump-text").textContent = this.#below > 0 ? plural(this.#below, "new message") : "Latest messages";
  }
}
