// The two side panes: the conversations with their unread counts, and the members of the open room.

import { avatar, byId, el, icon, plural, reconcile } from "./dom.js";
import { oncePerFrame } from "./frames.js";

/** Members that are shown at once. */
const MEMBERS_SHOWN = 200;

const order = new Intl.Collator();

export class Lists {
  #chat;
  #session;
  #onPick;
  #onAbout;
  /** The own name that is shown. Undefined before the first draw. */
  #ownName;

  /** `onPick` is called when the reader has chosen an item, `onAbout` with the name of a member. */
  constructor(chat, session, { onPick, onAbout }) {
    this.#chat = chat;
    this.#session = session;
    this.#onAbout = onAbout;
    this.#onPick = onPick;
    const members = oncePerFrame(() => this.#members());
    chat.addEventListener("list", oncePerFrame(() => this.#conversations()));
    chat.addEventListener("shown", members);
    chat.addEventListener("members", ({ detail }) => {
      if (detail.conversation === chat.open) members();
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
    const { size } = this.#chat.requests;
    byId("requests").hidden = size === 0;
    byId("requests-count").textContent = size;
    if (this.#ownName === this.#chat.name) return;
    this.#ownName = this.#chat.name;
    byId("own-name").textContent = this.#chat.name ?? "…";
    byId("own-avatar").replaceChildren(avatar(this.#chat.name ?? "?"));
  }

  #row(conversation) {
    const show = () => {
      this.#chat.show(conversation);
      this.#onPick();
    };
    const sign = conversation.kind === "room" ? icon("hash") : avatar(conversation.name);
    const name = el("bdi", { class: "label" });
    const badge = el("span", { class: "badge" }, el("b"), el("span", { class: "hidden" }, " unread"));
    const open = el("button", { type: "button", class: "row", click: show }, sign, name, " ", badge);
    const verb = conversation.kind === "room" ? "Leave" : "Close";
    const close = el("button", { type: "button", class: "beside", title: verb }, icon("close"));
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

  #members() {
    const room = this.#chat.open?.kind === "room" ? this.#chat.open : null;
    const all = [...(room?.members ?? [])].sort(order.compare);
    const names = all.slice(0, MEMBERS_SHOWN);
    // A list that is cut still contains the reader.
    if (all.indexOf(this.#chat.name) >= MEMBERS_SHOWN) names.push(this.#chat.name);
    reconcile(byId("member-list"), names, (name) => name, (name) => this.#member(name), (item, name) => {
      const own = name === this.#chat.name;
      item.querySelector("button").disabled = own;
      item.querySelector(".beside").hidden = own;
      item.querySelector(".you").hidden = !own;
    });
    const count = Math.max(room?.count ?? 0, all.length);
    for (const element of document.querySelectorAll("[data-member-count]")) {
      element.textContent = room && count > 0 ? plural(count, "person", "people") : "";
    }
    byId("member-more").textContent = names.length > 0 && count > names.length ? `and ${(count - names.length).toLocaleString()} more` : "";
  }

  #member(name) {
    const talk = () => {
      this.#session.openPrivate(name);
      this.#onPick();
    };
    const you = el("span", { class: "you" }, "you");
    const label = el("bdi", { class: "label" }, name);
    const button = el("button", { type: "button", class: "row", title: `Write to ${name}`, click: talk });
    button.append(avatar(name), label, you);
    const about = el("button", { type: "button", class: "beside", title: "About", "aria-label": `About ${name}` }, icon("more"));
    about.addEventListener("click", () => this.#onAbout(name));
    return el("li", {}, button, about);
  }
}
