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
    // The token must not stay in the field.
    this.#dialog.addEventListener("close", () => (this.#token.value = ""));
    chat.addEventListener("login", ({ detail }) => this.open(detail));
    for (const button of document.querySelectorAll("[data-logs-in]")) button.addEventListener("click", () => this.open());
  }

  open(error = null) {
    this.#showError(error ?? "");
    if (this.#dialog.open) return;
    byId("login-keep").checked = false;
    // An earlier login may still be waiting for a connection.
    this.#setBusy(false);
    this.#dialog.showModal();
    this.#token.focus();
  }

  #submit() {
    const token = this.#token.value.trim();
    if (!token) return this.#showError("Enter the token of your account");
    this.#showError("");
    this.#setBusy(true);
    const login = this.#account.logIn({ token, name: byId("login-name").value.trim() }, byId("login-keep").checked);
    login
      .then(
        () => this.#dialog.close(),
        ({ message }) => {
          this.#showError(message);
          this.#token.select();
        },
      )
      .finally(() => this.#setBusy(false));
  }

  #setBusy(isBusy) {
    byId("login-submit").disabled = isBusy;
  }

  #showError(text) {
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
