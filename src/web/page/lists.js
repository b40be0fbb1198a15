// The two side panes: the conversations with what is unread in them, and who is in the open room.

import { avatar, byId, el, icon, plural, reconcile } from "./dom.js";

/** Members change in bursts; drawing a thousand names for each would be felt. */
const MEMBERS_PAUSE_MS = 60;

export class Lists {
  #chat;
  #session;
  #picked;
  #membersDue = 0;

  /** `picked` is called when the reader has chosen something, so that a drawer can close. */
  constructor(chat, session, picked) {
    this.#chat = chat;
    this.#session = session;
    this.#picked = picked;
    chat.addEventListener("list", () => this.#conversations());
    chat.addEventListener("shown", () => this.#members());
    chat.addEventListener("members", ({ detail }) => {
      if (detail.conversation === chat.open) this.#membersSoon();
    });
    this.#conversations();
    this.#members();
  }

  #conversations() {
    const all = this.#chat.all();
    for (const kind of ["room", "private"]) {
      const items = all.filter((conversation) => conversation.kind === kind);
      const create = (conversation) => this.#row(conversation);
      reconcile(byId(`${kind}-list`), items, ({ key }) => key, create, (row, item) => this.#update(row, item));
      byId(`${kind}-none`).hidden = items.length > 0;
    }
    byId("own-name").textContent = this.#chat.name ?? "…";
    byId("own-avatar").replaceChildren(avatar(this.#chat.name ?? "?"));
  }

  #row(conversation) {
    const show = () => {
      this.#chat.show(conversation);
      this.#picked();
    };
    const sign = conversation.kind === "room" ? icon("hash") : avatar(conversation.name);
    const name = el("bdi", { class: "label" });
    const badge = el("span", { class: "badge" }, el("b"), el("span", { class: "hidden" }, " unread"));
    const open = el("button", { type: "button", class: "row", click: show }, sign, name, " ", badge);
    const verb = conversation.kind === "room" ? "Leave" : "Close";
    const close = el("button", { type: "button", class: "close", title: verb }, icon("close"));
    close.addEventListener("click", () => this.#session.leave(conversation));
    return el("li", {}, open, close);
  }

  #update(item, conversation) {
    const [open, close] = item.children;
    const { unread, name, title } = conversation;
    open.querySelector(".label").textContent = name;
    const badge = open.querySelector(".badge");
    badge.hidden = unread === 0;
    badge.firstChild.textContent = unread > 99 ? "99+" : unread;
    if (conversation === this.#chat.open) open.setAttribute("aria-current", "page");
    else open.removeAttribute("aria-current");
    item.classList.toggle("unread", unread > 0);
    close.setAttribute("aria-label", `${conversation.kind === "room" ? "Leave" : "Close"} ${title}`);
  }

  #membersSoon() {
    this.#membersDue ||= setTimeout(() => this.#members(), MEMBERS_PAUSE_MS);
  }

  #members() {
    clearTimeout(this.#membersDue);
    this.#membersDue = 0;
    const room = this.#chat.open?.kind === "room" ? this.#chat.open : null;
    const names = [...(room?.members ?? [])].sort((a, b) => a.localeCompare(b));
    reconcile(byId("member-list"), names, (name) => name, (name) => this.#member(name), (item, name) => {
      const own = name === this.#chat.name;
      item.querySelector("button").disabled = own;
      item.querySelector(".you").hidden = !own;
    });
    const count = Math.max(room?.count ?? 0, names.length);
    for (const element of document.querySelectorAll("[data-member-count]")) {
      element.textContent = room && count > 0 ? plural(count, "person", "people") : "";
    }
    byId("member-more").textContent = names.length > 0 && count > names.length ? `and ${count - names.length} more` : "";
  }

  #member(name) {
    const talk = () => {
      this.#session.talkTo(name);
      this.#picked();
    };
    const you = el("span", { class: "you" }, "you");
    const label = el("bdi", { class: "label" }, name);
    const button = el("button", { type: "button", class: "row", title: `Write to ${name}`, click: talk });
    button.append(avatar(name), label, you);
    return el("li", {}, button);
  }
}
