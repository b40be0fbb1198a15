// The session sends the reader's actions as requests to the server.

import { Account } from "./account.js";
import { roomName } from "./commands.js";
import { handleEvents } from "./events.js";
import { Naming } from "./naming.js";
import { storeRooms } from "./storage.js";

const HISTORY_WANTED = 100;
/** The server closes a connection that sends over 64 KiB. The difference is reserved for the JSON around the text. */
const TEXT_MAX_BYTES = 60 * 1024;

export class Session {
  /** Purposes of the requests without an answer, by request id. */
  requests = new Map();
  #lastId = 0;
  /** Rooms with a scheduled `who` request. */
  #whoDue = new Set();
  /** Rooms that the server refuses before a login, each with whether it is to be shown. */
  #refused = new Map();

  /** `name` is the reader's last name, and `options` are those of the connection. */
  constructor(connection, chat, name, options = {}) {
    this.connection = connection;
    this.chat = chat;
    this.account = new Account(this, chat, options);
    this.naming = new Naming(this, chat, name);
    handleEvents(this);
    connection.on("state", ({ state }) => {
      if (state !== "open") this.#onDisconnect();
    });
    chat.addEventListener("shown", ({ detail }) => {
      if (detail?.joined && detail.members === null) this.who(detail);
    });
  }

  /** Sends a request and returns its id. `takePurpose` returns `purpose` for the answer. */
  request(message, purpose) {
    const id = ++this.#lastId;
    if (this.connection.post({ ...message, id })) this.requests.set(id, purpose);
    return id;
  }

  /** Sends a request, and returns a promise for its answer. A refusal of the server rejects it. */
  call(message) {
    return new Promise((resolve, reject) => {
      const id = this.request(message, { resolve, reject });
      if (!this.requests.has(id)) reject(new Error("There is no connection"));
    });
  }

  /** Removes and returns the purpose of the request that the event answers. */
  takePurpose(event) {
    const purpose = this.requests.get(event.id);
    this.requests.delete(event.id);
    return purpose;
  }

  /** Joins a room, or shows it if it is joined already. */
  join(name, show = true) {
    const known = this.chat.find("room", name);
    if (known && show) this.chat.show(known);
    if (known?.joined) return;
    const joined = this.connection.join(roomName(name), { history: HISTORY_WANTED, echo: true, since: known?.since });
    joined.then(
      ({ room }) => show && this.chat.show(this.chat.ensure("room", room)),
      // The handler of the `error` event shows the error.
      ({ code }) => code === "login_required" && this.#refused.set(name, show),
    );
  }

  /** Joins the rooms that the server has refused before the login. */
  rejoin() {
    const refused = [...this.#refused];
    this.#refused.clear();
    for (const [name, show] of refused) this.join(name, show);
    for (const room of this.chat.rooms()) if (!room.joined && !room.leaving) this.join(room.name, false);
  }

  leave(conversation) {
    conversation.leaving = true;
    if (!conversation.joined) this.remove(conversation);
    this.connection.leave(conversation.name);
  }

  /** Removes a conversation from the list. */
  remove(conversation) {
    conversation.joined = false;
    this.chat.drop(conversation);
    this.#storeRooms();
  }

  openPrivate(name) {
    this.chat.show(this.chat.accept(name));
  }

  nick(name, purpose = {}) {
    this.request({ type: "nick", name }, { nick: name, ...purpose });
  }

  who(conversation, purpose = {}) {
    this.request({ type: "who", room: conversation.name }, purpose);
  }

  /** Schedules a `who` request. Further calls before it is sent have no effect. */
  whoLater(conversation, delay) {
    if (this.#whoDue.has(conversation)) return;
    this.#whoDue.add(conversation);
    setTimeout(() => {
      this.#whoDue.delete(conversation);
      if (conversation.joined) this.who(conversation);
    }, delay);
  }

  /** Requests the topic of a room, or sets it. A new topic is shown by its event, so the promise then has no answer. */
  topic(room, text) {
    const answer = this.call({ type: "topic", room: room.name, text });
    return text === undefined ? answer : answer.then(() => null);
  }

  listRooms() {
    this.request({ type: "rooms" }, {});
  }

  /** Sends a message, or an emote with `me`. It is pending until the server confirms it. */
  say(conversation, text, me = false) {
    if (new TextEncoder().encode(text).length > TEXT_MAX_BYTES) {
      return this.chat.notify("That is too long for one message", "error", conversation);
    }
    const from = this.chat.name ?? this.naming.wanted;
    const entry = { kind: "message", from, by: null, via: null, text, me, own: true, at: Date.now(), status: "pending", sent: false };
    this.#deliver(conversation, entry);
    this.chat.add(conversation, entry);
  }

  resend(conversation, entry) {
    this.chat.remove(conversation, entry);
    this.say(conversation, entry.text, entry.me);
  }

  /** Handles the welcome. The client itself joins all rooms again. */
  onWelcome(name, id) {
    this.chat.setId(id);
    this.naming.onWelcome(name);
    this.account.onWelcome();
    for (const conversation of this.chat.all()) {
      if (conversation.kind !== "room") this.#sendPending(conversation);
    }
  }

  /** Handles the confirmation that the reader has joined a room. */
  onJoined(name) {
    const conversation = this.chat.ensure("room", name);
    conversation.joined = true;
    conversation.leaving = false;
    // The events `rights` and `topic` follow if they apply.
    this.chat.setSilence(conversation, null);
    this.#storeRooms();
    if (!this.chat.open) this.chat.show(conversation);
    else if (this.chat.open === conversation) this.who(conversation);
  }

  /** Handles the end of the catch-up of a room. */
  onReady(conversation) {
    conversation.ready = true;
    this.#sendPending(conversation);
  }

  /** Sends the unsent messages of a conversation. Messages that an earlier connection has sent without an answer fail. */
  #sendPending(conversation) {
    const waiting = conversation.entries.filter(({ status }) => status === "pending");
    for (const entry of waiting) {
      if (this.requests.has(entry.id)) continue;
      if (entry.sent) Object.assign(entry, { status: "failed", problem: "the connection broke" });
      else this.#deliver(conversation, entry);
      this.chat.change(conversation, entry);
    }
  }

  #deliver(conversation, entry) {
    const { text, me } = entry;
    const purpose = { entry, conversation };
    const room = conversation.kind === "room";
    // Messages wait until the `join` has been answered and the catch-up is complete.
    if (room && !conversation.ready) return;
    const request = room
      ? { type: me ? "me" : "say", room: conversation.name, text }
      : { type: "tell", to: conversation.name, text };
    entry.id = this.request(request, purpose);
    entry.sent = this.requests.has(entry.id);
  }

  #onDisconnect() {
    const purposes = [...this.requests.values()];
    this.requests.clear();
    for (const purpose of purposes) purpose?.reject?.(new Error("The connection broke"));
    for (const conversation of this.chat.rooms()) {
      conversation.joined = conversation.ready = false;
      conversation.members = conversation.count = null;
    }
    this.chat.emit("members", { conversation: this.chat.open });
  }

  #storeRooms() {
    storeRooms(this.chat.rooms().map(({ name }) => name));
  }
}
