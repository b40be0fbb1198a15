// The panel below the conversations shows the reader's account, and has the buttons to log in and out.

import { byId } from "./dom.js";
import { oncePerFrame } from "./frames.js";

/** The server creates guest names, and they can't be registered. */
const GUEST_NAME = /^guest-\d+$/;

export class OwnAccount {
  #chat;
  #session;

  constructor(chat, session) {
    this.#chat = chat;
    this.#session = session;
    byId("keep-name").addEventListener("click", () => session.account.register());
    byId("log-out").addEventListener("click", () => session.account.logOut());
    const draw = oncePerFrame(() => this.#draw());
    for (const type of ["account", "list"]) chat.addEventListener(type, draw);
    session.connection.on("state", draw);
    this.#draw();
  }

  #draw() {
    const { account, connection } = this.#session;
    const isGuest = account.name === null;
    const isNamed = connection.state === "open" && this.#chat.name !== null && !GUEST_NAME.test(this.#chat.name);
    byId("own-account").textContent = isGuest ? "" : `${account.name}, ${account.role}`;
    byId("own-account").hidden = isGuest;
    byId("log-in").hidden = !isGuest && !account.isEnding;
    byId("log-out").hidden = isGuest || account.isEnding;
    byId("keep-name").hidden = !isGuest || !isNamed || !account.canRegister;
  }
}
