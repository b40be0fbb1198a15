// The login dialog, and the dialog that shows a new token once.

import { byId } from "./dom.js";

export class LoginDialog {
  #dialog = byId("login-dialog");
  #token = byId("login-token");
  #account;

  constructor(chat, account) {
    this.#account = account;
    byId("login-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    byId("login-cancel").addEventListener("click", () => this.#dialog.close());
    // The token stays in no field.
    this.#dialog.addEventListener("close", () => (this.#token.value = ""));
    chat.addEventListener("login", ({ detail }) => this.ask(detail));
    for (const button of document.querySelectorAll("[data-logs-in]")) button.addEventListener("click", () => this.ask());
  }

  ask(complaint = null) {
    this.#complain(complaint ?? "");
    if (this.#dialog.open) return;
    byId("login-keep").checked = false;
    // An earlier login may wait for a connection still.
    this.#setBusy(false);
    this.#dialog.showModal();
    this.#token.focus();
  }

  #submit() {
    const token = this.#token.value.trim();
    if (!token) return this.#complain("Enter the token of your account");
    this.#complain("");
    this.#setBusy(true);
    const login = this.#account.logIn({ token, name: byId("login-name").value.trim() }, byId("login-keep").checked);
    login
      .then(
        () => this.#dialog.close(),
        ({ message }) => {
          this.#complain(message);
          this.#token.select();
        },
      )
      .finally(() => this.#setBusy(false));
  }

  #setBusy(isBusy) {
    byId("login-submit").disabled = isBusy;
  }

  #complain(text) {
    byId("login-error").textContent = text;
    this.#token.setAttribute("aria-invalid", text !== "");
  }
}

export class TokenDialog {
  #dialog = byId("token-dialog");
  #field = byId("token-value");
  #account;

  constructor(chat, account) {
    this.#account = account;
    chat.addEventListener("registered", ({ detail }) => this.#show(detail));
    byId("token-copy").addEventListener("click", () => this.#copy());
    byId("token-close").addEventListener("click", () => this.#close());
    // Nobody can get the token again, so a stray Escape must not close it.
    this.#dialog.addEventListener("cancel", (event) => event.preventDefault());
  }

  #show({ name, token }) {
    byId("token-name").textContent = name;
    byId("token-copied").textContent = "";
    byId("token-keep").checked = false;
    this.#field.value = token;
    this.#dialog.showModal();
    byId("token-copy").focus();
  }

  async #copy() {
    this.#field.select();
    byId("token-copied").textContent = (await isCopied(this.#field.value)) ? "Copied." : "Press Ctrl+C to copy it.";
  }

  #close() {
    if (byId("token-keep").checked) this.#account.keep(this.#field.value, true);
    this.#field.value = "";
    this.#dialog.close();
  }
}

/** Copies a text that is selected. Without TLS the browser has no clipboard interface. */
async function isCopied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return document.execCommand("copy");
  }
}
