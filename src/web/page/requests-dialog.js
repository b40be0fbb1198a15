// The dialog lists strangers who have written in private. The reader accepts or ignores each of them.

import { avatar, byId, el, plural, reconcile } from "./dom.js";
import { fold } from "./conversation.js";
import { oncePerFrame } from "./frames.js";

/** Longest part of the latest message that is shown. */
const PREVIEW_CHARS = 200;

export class RequestsDialog {
  #dialog = byId("requests-dialog");
  #list = byId("request-list");
  #chat;
  #accept;

  /** `accept` is called with the name of the accepted stranger. */
  constructor(chat, accept) {
    this.#chat = chat;
    this.#accept = accept;
    byId("requests").addEventListener("click", () => this.open());
    byId("requests-close").addEventListener("click", () => this.#dialog.close());
    byId("requests-ignore").addEventListener("click", () => {
      for (const { name } of chat.requests.list()) chat.ignore(name);
      this.#dialog.close();
    });
    this.#dialog.addEventListener("close", () => (chat.requests.isFrozen = false));
    chat.addEventListener("list", oncePerFrame(() => this.#dialog.open && this.#draw()));
  }

  open() {
    if (this.#chat.requests.size === 0) return;
    this.#chat.requests.isFrozen = true;
    this.#draw();
    if (!this.#dialog.open) this.#dialog.showModal();
  }

  #draw() {
    const { requests } = this.#chat;
    const create = (request) => this.#item(request);
    reconcile(this.#list, requests.list(), ({ name }) => fold(name), create, (item, request) => {
      const { text } = request.entries.at(-1);
      const preview = text.length > PREVIEW_CHARS ? `${text.slice(0, PREVIEW_CHARS)}…` : text;
      item.querySelector(".note").textContent = plural(request.count, "message");
      item.querySelector(".text").textContent = preview;
    });
    byId("request-more").textContent = requests.dropped > 0 ? `Left out: ${plural(requests.dropped, "more request")}.` : "";
  }

  #item({ name }) {
    const label = el("bdi", { class: "label" }, name);
    const content = el("div", { class: "content" }, el("div", {}, label, " ", el("span", { class: "note" })), el("p", { class: "text", dir: "auto" }));
    const accept = el("button", { type: "button", "aria-label": `Talk to ${name}` }, "Talk");
    const ignore = el("button", { type: "button", class: "quiet", "aria-label": `Ignore ${name}` }, "Ignore");
    accept.addEventListener("click", () => {
      this.#dialog.close();
      this.#accept(name);
    });
    ignore.addEventListener("click", () => this.#ignore(name));
    return el("li", { class: "request" }, avatar(name), content, accept, ignore);
  }

  /** Ignores a request, and moves the focus to the next one for keyboard users. */
  #ignore(name) {
    const item = [...this.#list.children].find(({ dataset }) => dataset.key === fold(name));
    const next = item?.nextElementSibling ?? item?.previousElementSibling;
    this.#chat.ignore(name);
    if (!next) return this.#dialog.close();
    next.querySelector("button.quiet").focus();
  }
}
