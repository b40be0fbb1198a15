// The reader's actions as requests to the server.

import { Account } from "./account.js";
import { roomName } from "./commands.js";
import { hearAll } from "./hearing.js";
import { Naming } from "./naming.js";
import { rememberRooms } from "./storage.js";

const HISTORY_WANTED = 100;
/** The server takes 64 KiB and closes on more; the rest is for the JSON around the text. */
const TEXT_MAX_BYTES = 60 * 1024;

export class Session {
  /** What the server has not answered yet: by id, what the request was for. */
  requests = new Map();
  #lastId = 0;
  /** Rooms whose members will be asked for. */
  #whoDue = new Set();
  /** Rooms that the server refuses before a login, and whether each is to be shown. */
  #refused = new Map();

  /** `name` is the one that the reader had last; `options` are those of the connection. */
  constructor(connection, chat, name, options = {}) {
    this.connection = connection;
    this.chat = chat;
    this.account = new Account(this, chat, options);
    this.naming = new Naming(this, chat, name);
    hearAll(this);
    connection.on("state", ({ state }) => {
      if (state !== "open") this.#cutOff();
    });
    chat.addEventListener("shown", ({ detail }) => {
      if (detail?.joined && detail.members === null) this.who(detail);
    });
  }

  /** Sends a request; its answer will find `purpose` under the id that this returns. */
  request(message, purpose) {
    const id = ++this.#lastId;
    if (this.connection.post({ ...message, id })) this.requests.set(id, purpose);
    return id;
  }

  /** Sends a request whose answer the caller shows, a refusal of the server included. */
  ask(message) {
    return new Promise((resolve, reject) => {
      const id = this.request(message, { resolve, reject });
      if (!this.requests.has(id)) reject(new Error("There is no connection"));
    });
  }

  /** The purpose of the request that this answers, once. */
  answered(event) {
    const purpose = this.requests.get(event.id);
    this.requests.delete(event.id);
    return purpose;
  }

  /** Joins a room, or goes to it if we are there. */
  join(name, show = true) {
    const known = this.chat.find("room", name);
    if (known && show) this.chat.show(known);
    if (known?.joined) return;
    const joined = this.connection.join(roomName(name), { history: HISTORY_WANTED, echo: true, since: known?.since });
    joined.then(
      ({ room }) => show && this.chat.show(this.chat.ensure("room", room)),
      // The error is an event as well, which is shown.
      ({ code }) => code === "login_required" && this.#refused.set(name, show),
    );
  }

  /** Enters the rooms that the server has refused before the login. */
  joinAgain() {
    const refused = [...this.#refused];
    this.#refused.clear();
    for (const [name, show] of refused) this.join(name, show);
    for (const room of this.chat.rooms()) if (!room.joined && !room.leaving) this.join(room.name, false);
  }

  leave(conversation) {
    conversation.leaving = true;
    if (!conversation.joined) this.forget(conversation);
    this.connection.leave(conversation.name);
  }

  /** Takes a conversation off the list. */
  forget(conversation) {
    conversation.joined = false;
    this.chat.drop(conversation);
    this.#rememberRooms();
  }

  talkTo(name) {
    this.chat.show(this.chat.accept(name));
  }

  nick(name, purpose = {}) {
    this.request({ type: "nick", name }, { naming: name, ...purpose });
  }

  who(conversation, purpose = {}) {
    this.request({ type: "who", room: conversation.name }, { asking: conversation, ...purpose });
  }

  /** The same after a while, once for all who want it meanwhile. */
  whoLater(conversation, delay) {
    if (this.#whoDue.has(conversation)) return;
    this.#whoDue.add(conversation);
    setTimeout(() => {
      this.#whoDue.delete(conversation);
      if (conversation.joined) this.who(conversation);
    }, delay);
  }

  /** Asks for the topic of a room, or sets it. The answer to the latter is shown in the room like that of others. */
  topic(room, text) {
    const answer = this.ask({ type: "topic", room: room.name, text });
    return text === undefined ? answer : answer.then(() => null);
  }

  listRooms() {
    this.request({ type: "rooms" }, {});
  }

  /** Says something, or does it (`me`). Until the server has placed it, it is shown as pending. */
  say(conversation, text, me = false) {
    if (new TextEncoder().encode(text).length > TEXT_MAX_BYTES) {
      return this.chat.advise("That is too long for one message", "error", conversation);
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

  /** The server's welcome. The client enters all rooms again. */
  welcomed(name, id) {
    this.chat.setId(id);
    this.naming.welcomed(name);
    this.account.welcomed();
    for (const conversation of this.chat.all()) {
      if (conversation.kind !== "room") this.#settle(conversation);
    }
  }

  /** The server has put the reader into a room. */
  joined(name) {
    const conversation = this.chat.ensure("room", name);
    conversation.joined = true;
    conversation.leaving = false;
    // The server says so behind this if the reader may not speak, or if there is a topic.
    this.chat.setSilence(conversation, null);
    this.#rememberRooms();
    if (!this.chat.open) this.chat.show(conversation);
    else if (this.chat.open === conversation) this.who(conversation);
  }

  /** The room shows everything up to now. */
  ready(conversation) {
    conversation.ready = true;
    this.#settle(conversation);
  }

  /** Sends what was written meanwhile. What was sent into the broken connection nobody has confirmed, so it failed. */
  #settle(conversation) {
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
    const purpose = { saying: entry, conversation };
    const room = conversation.kind === "room";
    // A pending request comes first, and decides this.
    if (room && !conversation.ready) return;
    const request = room
      ? { type: me ? "me" : "say", room: conversation.name, text }
      : { type: "tell", to: conversation.name, text };
    entry.id = this.request(request, purpose);
    entry.sent = this.requests.has(entry.id);
  }

  #cutOff() {
    const purposes = [...this.requests.values()];
    this.requests.clear();
    for (const purpose of purposes) purpose?.reject?.(new Error("The connection broke"));
    for (const conversation of this.chat.rooms()) {
      conversation.joined = conversation.ready = false;
      conversation.members = conversation.count = null;
    }
    this.chat.emit("members", { conversation: this.chat.open });
  }

  #rememberRooms() {
    rememberRooms(this.chat.rooms().map(({ name }) => name));
  }
}
