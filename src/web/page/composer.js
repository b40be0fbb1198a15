// The box to write in. What is written stays with its conversation until it is sent.

import { byId } from "./dom.js";

const LINES_MAX = 8;

export class Composer {
  #chat;
  #account;
  #input = byId("input");
  #conversation = null;

  /** `submit` gets what was written. */
  constructor(chat, account, submit) {
    this.#chat = chat;
    this.#account = account;
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
    chat.addEventListener("silence", ({ detail }) => {
      if (detail.conversation === this.#conversation) this.#allow();
    });
    chat.addEventListener("account", () => this.#allow());
    // The server does not say when the time of a mute is over.
    byId("silence-retry").addEventListener("click", () => {
      chat.setSilence(this.#conversation, null);
      this.focus();
    });
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
    this.#allow();
    this.#fit();
  }

  /** If the reader may not speak in the room, the reason stands in the place of the box. */
  #allow() {
    const silence = this.#conversation?.silence ?? null;
    const isSilent = silence !== null;
    this.#input.disabled = isSilent;
    for (const element of byId("composer").children) element.hidden = (element.id === "silence") !== isSilent;
    byId("silence-text").textContent = silence ?? "";
    byId("silence-login").hidden = this.#account.name !== null;
  }

  // The style sheet's field-sizing does this better, where it is known.
  #fit() {
    this.#input.rows = Math.min(LINES_MAX, this.#input.value.split("\n").length);
  }
}
