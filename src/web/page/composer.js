// The box to write in. What is written stays with its conversation until it is sent.

import { byId } from "./dom.js";

const LINES_MAX = 8;

export class Composer {
  #chat;
  #input = byId("input");
  #conversation = null;

  /** `submit` gets what was written. */
  constructor(chat, submit) {
    this.#chat = chat;
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit(submit);
    });
    this.#input.addEventListener("keydown", (event) => {
      // Enter also ends a word that an input method is composing; that one is not ours.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit(submit);
    });
    this.#input.addEventListener("input", () => this.#fit());
    chat.addEventListener("shown", ({ detail }) => this.#show(detail));
    this.#show(null);
  }

  focus() {
    this.#input.focus({ preventScroll: true });
  }

  #submit(submit) {
    const text = this.#input.value;
    if (text.trim() === "") return;
    this.#input.value = "";
    this.#fit();
    submit(text);
  }

  #show(conversation) {
    if (this.#conversation) this.#conversation.draft = this.#input.value;
    this.#conversation = conversation;
    this.#input.value = conversation?.draft ?? "";
    const label = conversation ? `Message ${conversation.title}` : "Join a room to write";
    this.#input.placeholder = label;
    this.#input.setAttribute("aria-label", label);
    this.#fit();
  }

  // The style sheet's field-sizing does this better, where it is known.
  #fit() {
    this.#input.rows = Math.min(LINES_MAX, this.#input.value.split("\n").length);
  }
}
