// Says how the connection is, whenever it is not simply there.

import { byId } from "./dom.js";
import { onceAFrame } from "./frames.js";

/** How long a line that had no conversation to go to is shown. */
const ADVICE_MS = 10_000;

export class Banner {
  #connection;
  #ticking = 0;
  #advice = "";
  #adviceEnds = 0;
  #showSoon = onceAFrame(() => this.#show());

  constructor(connection, chat) {
    this.#connection = connection;
    connection.on("state", () => this.#show());
    window.addEventListener("online", () => this.#show());
    window.addEventListener("offline", () => this.#show());
    chat.addEventListener("advice", ({ detail }) => this.#advise(detail));
    byId("retry").addEventListener("click", () => connection.open());
    this.#show();
  }

  #advise(text) {
    this.#advice = text;
    clearTimeout(this.#adviceEnds);
    this.#adviceEnds = setTimeout(() => this.#advise(""), ADVICE_MS);
    this.#showSoon();
  }

  #show() {
    const { state } = this.#connection;
    const text = this.#advice || this.#text(state);
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

  // Apart from the text, and not read out: a screen reader would otherwise count along.
  #countDown() {
    const { state, retryAt } = this.#connection;
    const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    setText(byId("countdown"), state === "waiting" ? `Retrying in ${seconds} s` : "");
  }
}

/** Only a change of the text is to be announced. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
