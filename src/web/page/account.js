// The reader's account: logging in with a token, making a name an account, and logging out.
//
// It emits these events of the chat:
// - "account": the account, its role, or the permission to register has changed.
// - "login": a login is needed. The detail is the reason, or null if the reader has clicked "Log in".
// - "registered": the detail is a name and its new token.

import { storeName, storeToken } from "./storage.js";

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
  #pendingLogin = null;

  /** The client reads the token in its `options` before each connection. */
  constructor(session, chat, options) {
    this.#session = session;
    this.#chat = chat;
    this.#options = options;
    session.connection.on("state", ({ state, reason }) => {
      if (state !== "open") this.#setAccount(null, "guest");
      if (state === "closed") this.#pendingLogin?.reject(new Error(reason || "There is no connection"));
      if (state === "closed") this.#pendingLogin = null;
    });
  }

  get isModerator() {
    return MODERATORS.includes(this.role);
  }

  /** Whether a new connection logs in, and so gets the name of the account. */
  get logsIn() {
    return this.#pendingLogin !== null || Boolean(this.#options.token);
  }

  /** Logs in, now or with the next connection. The token is stored only if `keeps` is true. */
  logIn({ token, name }, keeps = false) {
    const message = { type: "login", token, ...(name && { name }) };
    const isOpen = this.#session.connection.state === "open";
    const login = isOpen ? this.#session.call(message) : this.#connectAndCall(message);
    return login.then((event) => {
      this.keep(token, keeps);
      return event;
    });
  }

  #connectAndCall(message) {
    this.#options.token = undefined;
    const login = new Promise((resolve, reject) => (this.#pendingLogin = { message, resolve, reject }));
    this.#session.connection.open();
    return login;
  }

  /** Uses a token for each new connection, and stores it for the next visit or removes the stored one. */
  keep(token, isStored) {
    this.#options.token = token;
    storeToken(isStored ? token : null);
  }

  logOut() {
    const { connection, naming } = this.#session;
    this.keep(undefined, false);
    // The name belongs to the account.
    naming.wanted = "";
    storeName("");
    connection.close();
    connection.open();
  }

  /** Registers the reader's name as an account. */
  register() {
    this.#session.call({ type: "register" }).then(
      ({ name, token }) => {
        this.#options.token = token;
        this.#chat.emit("registered", { name, token });
      },
      ({ code, message }) => {
        if (code === "registration_off") this.canRegister = false;
        this.#chat.emit("account");
        this.#chat.notify(message, "error");
      },
    );
  }

  /** Sends the login that was delayed until the connection, before the client enters its rooms. */
  onWelcome() {
    if (!this.#pendingLogin) return;
    const { message, resolve, reject } = this.#pendingLogin;
    this.#pendingLogin = null;
    this.#session.call(message).then(resolve, reject);
  }

  onLogin(name, role) {
    this.#setAccount(name, role);
    this.#session.rejoin();
  }

  /** Handles the server's refusal of the token of a new connection. */
  onRefused(code, text) {
    if (code === "login_failed") this.keep(undefined, false);
    this.#chat.emit("login", text);
  }

  /** Warns the reader that the login ends, because the page has no other token. */
  onExpiring(seconds) {
    this.isEnding = true;
    this.#chat.emit("account");
    this.#chat.notify(`Your login ends in ${seconds} s. Log in with a fresh token to stay connected`, "error");
  }

  #setAccount(name, role) {
    if (this.name === name && this.role === role && !this.isEnding) return;
    Object.assign(this, { name, role, isEnding: false });
    this.#chat.emit("account");
  }
}
