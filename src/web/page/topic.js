// The topic in the header of the room, and the dialog in which moderators edit it.

import { byId } from "./dom.js";
import { oncePerFrame } from "./frames.js";

export class TopicView {
  #dialog = byId("topic-dialog");
  #field = byId("topic-field");
  #chat;
  #session;
  /** The room whose topic is edited. */
  #room = null;

  constructor(chat, session) {
    this.#chat = chat;
    this.#session = session;
    const draw = oncePerFrame(() => this.#draw());
    for (const type of ["shown", "topic", "account"]) chat.addEventListener(type, draw);
    byId("edit-topic").addEventListener("click", () => this.#open());
    byId("topic-cancel").addEventListener("click", () => this.#dialog.close());
    byId("topic-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
  }

  #draw() {
    const { open } = this.#chat;
    const topic = open?.topic ?? "";
    byId("topic").textContent = topic;
    byId("topic").title = topic;
    byId("topic").hidden = topic === "";
    byId("edit-topic").hidden = open?.kind !== "room" || !this.#session.account.isModerator;
  }

  #open() {
    this.#room = this.#chat.open;
    byId("topic-title").textContent = `Topic of ${this.#room.title}`;
    byId("topic-error").textContent = "";
    this.#field.value = this.#room.topic ?? "";
    this.#dialog.showModal();
    this.#field.select();
  }

  #save() {
    this.#session.topic(this.#room, this.#field.value.trim()).then(
      () => this.#dialog.close(),
      ({ message }) => (byId("topic-error").textContent = message),
    );
  }
}
