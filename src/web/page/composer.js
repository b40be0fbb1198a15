// The input box. Each conversation keeps its draft until it is sent.

import { byId } from "./dom.js";

const LINES_MAX = 8;

export class Composer {
  #chat;
  #account;
  #input = byId("input");
  #conversation = null;

  /** `submit` is called with the typed text. */
  constructor(chat, account, submit) {
    this.#chat = chat;
    this.#account = account;
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit(submit);
    });
    this.#input.addEventListener("keydown", (event) => {
      // With an input method Enter also ends the composition of a word, which must not send the message.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit(submit);
    });
    this.#input.addEventListener("input", () => this.#fit());
    chat.addEventListener("shown", ({ detail }) => this.#show(detail));
    chat.addEventListener("silence", ({ detail }) => {
      if (detail.conversation === this.#conversation) this.#showSilence();
    });
    chat.addEventListener("account", () => this.#showSilence());
    // The server sends no event when a mute expires.
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
    this.#showSilence();
    this.#fit();
  }

  /** If the reader may not speak in the room, the reason is shown instead of the box. */
  #showSilence() {
    const silence = this.#conversation?.silence ?? null;
    const isSilent = silence !== null;
    this.#input.disabled = isSilent;
    for (const element of byId("composer").children) element.hidden = (element.id === "silence") !== isSilent;
    byId("silence-text").textContent = silence ?? "";
    byId("silence-login").hidden = this.#account.name !== null;
  }

  // Browsers with `field-sizing` do this by the style sheet.
  #fit() {
    this.#input.rows = Math.min(LINES_MAX, this.#input.value.split("\n").length);
  }
}
