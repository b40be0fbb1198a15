// Requests the reader's name. If the name is taken, the server gives a guest name instead. There are two cases:
// - Another client has the name, and the reader has to choose another one.
// - The reader's own broken connection still has the name. The page retries until the server has closed it.

import { storeName } from "./storage.js";

/** Delays of the retries. The server closes a dead connection within them. */
const RETRY_MS = [3_000, 7_000, 15_000, 30_000, 60_000];

export class Naming {
  #chat;
  #session;
  #refusal = "";
  #tries = 0;
  #timer = 0;
  #wasGranted = false;

  /** An empty `wanted` name requests a guest name. */
  constructor(session, chat, wanted) {
    this.#session = session;
    this.#chat = chat;
    this.wanted = normalize(wanted);
  }

  /** The name that each connection asks for. */
  get wanted() {
    return this.#session.connection.name;
  }

  set wanted(name) {
    this.#session.connection.name = name;
  }

  /** Requests a name that the reader has entered. */
  change(name) {
    clearTimeout(this.#timer);
    if (this.#session.connection.state === "open") this.#session.nick(normalize(name));
    else this.wanted = normalize(name);
  }

  /** Handles the refusal of a name. `isAnswer` is true if the reader has just entered the name. */
  onRefused(text, isAnswer) {
    if (isAnswer) return this.#chat.emit("refused", text);
    this.#refusal = text;
    if (this.#chat.name !== null) this.#retryLater();
  }

  /** Handles the welcome, which contains the name that the server has given. */
  onWelcome(name) {
    clearTimeout(this.#timer);
    const refusal = this.#refusal;
    this.#refusal = "";
    this.#tries = 0;
    this.#chat.setName(name);
    if (!this.wanted) return;
    if (name === this.wanted) return this.onRenamed(name);
    // The login will set the name of the account.
    if (this.#session.account.logsIn) return;
    if (!this.#wasGranted) return this.#chat.emit("unnamed", refusal || `You are ${name}`);
    this.#chat.notify(`Your last connection still has your name; until it is free you are ${name}`);
    this.#retryLater();
  }

  /** Records that the client has this name now. */
  onRenamed(name) {
    clearTimeout(this.#timer);
    this.wanted = name;
    this.#wasGranted = true;
    storeName(name);
    this.#chat.setName(name);
    this.#chat.emit("named", name);
  }

  #retryLater() {
    const delay = RETRY_MS[this.#tries++];
    if (delay === undefined) return;
    this.#timer = setTimeout(() => this.#session.nick(this.wanted, { isRetry: true }), delay);
  }
}

/** Normalizes a name as the server does, so that its answer can be compared. */
function normalize(name) {
  return name.trim().normalize("NFC");
}
