// The dialog about a member of the room. It shows the `whois` answer and the actions of moderators.

import { answerLines, whoisFacts } from "./answers.js";
import { byId, el } from "./dom.js";

export class MemberDialog {
  #dialog = byId("member-dialog");
  #chat;
  #session;
  #name = "";

  /** `write` is called with the name of the member if the reader clicks "Write". */
  constructor(chat, session, write) {
    this.#chat = chat;
    this.#session = session;
    byId("member-close").addEventListener("click", () => this.#dialog.close());
    byId("member-write").addEventListener("click", () => {
      this.#dialog.close();
      write(this.#name);
    });
    for (const button of this.#dialog.querySelectorAll("[data-moderates]")) {
      button.addEventListener("click", () => this.#moderate(button.dataset));
    }
    // Enter in the reason field must not trigger an action.
    byId("member-form").addEventListener("submit", (event) => event.preventDefault());
    chat.addEventListener("account", () => this.#showActions());
  }

  open(name) {
    this.#name = name;
    byId("member-name").textContent = name;
    byId("member-reason").value = "";
    byId("member-facts").replaceChildren();
    this.#showError("");
    this.#showActions();
    this.#dialog.showModal();
    byId("member-write").focus();
    this.#session.call({ type: "whois", name }).then(
      (event) => this.#name === name && this.#showFacts(event),
      ({ message }) => this.#name === name && this.#showError(message),
    );
  }

  #showFacts(event) {
    const rows = whoisFacts(event).map(([label, text]) => [el("dt", {}, label), el("dd", { dir: "auto" }, text)]);
    byId("member-facts").replaceChildren(...rows.flat());
  }

  #showActions() {
    byId("member-moderation").hidden = !this.#session.account.isModerator;
  }

  /** Sends the action. The server checks the reader's role, and the dialog shows its refusal. */
  #moderate({ moderates: type, seconds }) {
    const reason = byId("member-reason").value.trim();
    const message = { type, [type === "ban" ? "target" : "name"]: this.#name };
    if (seconds) message.seconds = Number(seconds);
    if (reason && ["kick", "ban"].includes(type)) message.reason = reason;
    this.#showError("");
    this.#session.call(message).then(
      (event) => {
        this.#dialog.close();
        for (const line of answerLines(event)) this.#chat.notify(line);
      },
      ({ message: text }) => this.#showError(text),
    );
  }

  #showError(text) {
    byId("member-error").textContent = text;
  }
}
