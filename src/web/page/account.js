// The reader's account: logging in with a token, making a name an account, and logging out.
//
// Events of the chat: "account" (account, role, or what the server allows), "login" (a login is needed; the detail is the
// reason, or null if the reader has asked for it), "registered" (a name and its new token).

import { rememberName, rememberToken } from "./storage.js";

const MODERATORS = ["moderator", "admin"];

export class Account {
  /** Name of the account; null for a guest. */
  name = null;
  role = "guest";
  /** Whether the server has announced the end of the login. */
  isEnding = false;
  /** Whether names can be registered: true until the server refuses it. */
  canRegister = true;
  #session;
  #chat;
  #options;
  /** A login that is sent with the next welcome: { message, resolve, reject }. */
  #waiting = null;

  /** The client reads the token in its `options` before each connection. */
  constructor(session, chat, options) {
    this.#session = session;
    this.#chat = chat;
    this.#options = options;
    session.connection.on("state", ({ state, reason }) => {
      if (state !== "open") this.#become(null, "guest");
      if (state === "closed") this.#waiting?.reject(new Error(reason || "There is no connection"));
      if (state === "closed") this.#waiting = null;
    });
  }

  get isModerator() {
    return MODERATORS.includes(this.role);
  }

  /** Whether a new connection logs in, and so gets the name of the account. */
  get logsIn() {
    return this.#waiting !== null || Boolean(this.#options.token);
  }

  /** Logs in, now or with the next connection. The token is stored only if the reader `keeps` it. */
  logIn({ token, name }, keeps = false) {
    const message = { type: "login", token, ...(name && { name }) };
    const isOpen = this.#session.connection.state === "open";
    const login = isOpen ? this.#session.ask(message) : this.#connectAndAsk(message);
    return login.then((event) => {
      this.keep(token, keeps);
      return event;
    });
  }

  #connectAndAsk(message) {
    this.#options.token = undefined;
    const login = new Promise((resolve, reject) => (this.#waiting = { message, resolve, reject }));
    this.#session.connection.open();
    return login;
  }

  /** Uses a token for each new connection, and stores it for the next visit or removes the stored one. */
  keep(token, isStored) {
    this.#options.token = token;
    rememberToken(isStored ? token : null);
  }

  logOut() {
    const { connection, naming } = this.#session;
    this.keep(undefined, false);
    // The name belongs to the account.
    naming.wanted = "";
    rememberName("");
    connection.close();
    connection.open();
  }

  /** Makes the reader's name an account. */
  register() {
    this.#session.ask({ type: "register" }).then(
      ({ name, token }) => {
        this.#options.token = token;
        this.#chat.emit("registered", { name, token });
      },
      ({ code, message }) => {
        if (code === "registration_off") this.canRegister = false;
        this.#chat.emit("account");
        this.#chat.advise(message, "error");
      },
    );
  }

  /** Sends the login that has waited for the connection, before the client enters its rooms. */
  welcomed() {
    if (!this.#waiting) return;
    const { message, resolve, reject } = this.#waiting;
    this.#waiting = null;
    this.#session.ask(message).then(resolve, reject);
  }

  loggedIn(name, role) {
    this.#become(name, role);
    this.#session.joinAgain();
  }

  /** The server has refused the token of a new connection. */
  refused(code, text) {
    if (code === "login_failed") this.keep(undefined, false);
    this.#chat.emit("login", text);
  }

  /** The login ends in so many seconds, and the page has no other token. */
  ending(seconds) {
    this.isEnding = true;
    this.#chat.emit("account");
    this.#chat.advise(`Your login ends in ${seconds} s. Log in with a fresh token to stay connected`, "error");
  }

  #become(name, role) {
    if (this.name === name && this.role === role && !this.isEnding) return;
    Object.assign(this, { name, role, isEnding: false });
    this.#chat.emit("account");
  }
}
