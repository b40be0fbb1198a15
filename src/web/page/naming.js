// Getting the name the reader wants. The server gives a guest name where it can't: because somebody else has the
// name, which the reader must hear, or because our own broken connection still has it, which passes by itself.

import { rememberName } from "./storage.js";

/** By then the server has noticed that the old connection is dead. */
const RETRY_MS = [3_000, 7_000, 15_000, 30_000, 60_000];

export class Naming {
  #chat;
  #session;
  #refusal = "";
  #tries = 0;
  #timer = 0;
  #hadIt = false;

  /** `wanted` may be empty: then a guest name will do. */
  constructor(session, chat, wanted) {
    this.#session = session;
    this.#chat = chat;
    this.wanted = tidy(wanted);
  }

  /** The name that each connection asks for. */
  get wanted() {
    return this.#session.connection.name;
  }

  set wanted(name) {
    this.#session.connection.name = name;
  }

  /** The reader gave a name. */
  want(name) {
    clearTimeout(this.#timer);
    if (this.#session.connection.state === "open") this.#session.nick(tidy(name));
    else this.wanted = tidy(name);
  }

  /** The server refused a name; `asked` if the reader has just asked for it and waits for an answer. */
  refused(text, asked) {
    if (asked) return this.#chat.emit("refused", text);
    this.#refusal = text;
    if (this.#chat.name !== null) this.#later();
  }

  /** The server's welcome. */
  welcomed(name) {
    clearTimeout(this.#timer);
    const refusal = this.#refusal;
    this.#refusal = "";
    this.#tries = 0;
    this.#chat.setName(name);
    if (!this.wanted) return;
    if (name === this.wanted) return this.renamed(name);
    // The login brings the name of the account.
    if (this.#session.account.logsIn) return;
    if (!this.#hadIt) return this.#chat.emit("unnamed", refusal || `You are ${name}`);
    this.#chat.advise(`Your last connection still has your name; until it is free you are ${name}`);
    this.#later();
  }

  /** The name is ours now. */
  renamed(name) {
    clearTimeout(this.#timer);
    this.wanted = name;
    this.#hadIt = true;
    rememberName(name);
    this.#chat.setName(name);
    this.#chat.emit("named", name);
  }

  #later() {
    const delay = RETRY_MS[this.#tries++];
    if (delay === undefined) return;
    this.#timer = setTimeout(() => this.#session.nick(this.wanted, { quiet: true }), delay);
  }
}

/** As the server writes it, so that what it answers can be compared. */
function tidy(name) {
  return name.trim().normalize("NFC");
}
