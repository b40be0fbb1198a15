// The banner shows the state of the connection while it is not open.

import { byId } from "./dom.js";
import { oncePerFrame } from "./frames.js";

/** Time for which the banner shows a notice, when no conversation is open. */
const NOTICE_MS = 10_000;

export class Banner {
  #connection;
  #ticking = 0;
  #notice = "";
  #noticeTimer = 0;
  #showSoon = oncePerFrame(() => this.#show());

  constructor(connection, chat) {
    this.#connection = connection;
    connection.on("state", () => this.#show());
    window.addEventListener("online", () => this.#show());
    window.addEventListener("offline", () => this.#show());
    chat.addEventListener("notice", ({ detail }) => this.#showNotice(detail));
    byId("retry").addEventListener("click", () => connection.open());
    this.#show();
  }

  #showNotice(text) {
    this.#notice = text;
    clearTimeout(this.#noticeTimer);
    this.#noticeTimer = setTimeout(() => this.#showNotice(""), NOTICE_MS);
    this.#showSoon();
  }

  #show() {
    const { state } = this.#connection;
    const text = this.#notice || this.#text(state);
    byId("banner").hidden = text === "";
    byId("banner").dataset.state = state;
    document.body.dataset.connection = state;
    setText(byId("banner-text"), text);
    byId("retry").hidden = !["waiting", "closed"].includes(state);
    setText(byId("retry"), state === "closed" ? "Connect" : "Retry now");
    clearInterval(this.#ticking);
    if (state === "waiting") this.#ticking = setInterval(() => this.#countDown(), 250);
    this.#countDown();
  }

  #text(state) {
    const { reason } = this.#connection;
    const why = reason ? `: ${reason}` : "";
    if (state === "waiting") return navigator.onLine ? `Connection lost${why}` : "You are offline";
    if (state === "connecting") return "Connecting…";
    return state === "closed" ? `Not connected${why}` : "";
  }

  // The countdown is a separate element without a role, so screen readers don't announce each second.
  #countDown() {
    const { state, retryAt } = this.#connection;
    const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    setText(byId("countdown"), state === "waiting" ? `Retrying in ${seconds} s` : "");
  }
}

/** Writes a text only if it differs, because screen readers announce each write. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
