// The reader's actions as requests to the server. Some are repeated when the connection comes back.

import { catchUp } from "./catchup.js";
import { roomName } from "./commands.js";
import { KEPT_ENTRIES } from "./conversation.js";
import { hear } from "./hearing.js";
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

  constructor(connection, chat, name) {
    this.connection = connection;
    this.chat = chat;
    this.naming = new Naming(this, chat, name);
    connection.addEventListener("message", (event) => hear(this, event.detail));
    connection.addEventListener("state", () => {
      if (connection.state !== "online") this.#cutOff();
    });
    chat.addEventListener("shown", ({ detail }) => {
      if (detail?.joined && detail.members === null) this.who(detail);
    });
  }

  /** Sends a request; its answer will find `purpose` under the id that this returns. */
  request(message, purpose) {
    const id = ++this.#lastId;
    if (this.connection.send({ ...message, id })) this.requests.set(id, purpose);
    return id;
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
    this.request({ type: "join", room: roomName(name), history: HISTORY_WANTED, echo: true }, { joining: name, show });
  }

  leave(conversation) {
    if (conversation.joined) this.request({ type: "leave", room: conversation.name }, { leaving: conversation });
    else this.forget(conversation);
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

  /** The server's welcome: everything we were in is joined again. */
  welcomed(name, id) {
    this.chat.setId(id);
    this.connection.welcomed();
    this.naming.welcomed(name);
    for (const conversation of this.chat.all()) {
      if (conversation.kind === "room") this.join(conversation.name, false);
      else this.#settle(conversation);
    }
    for (const [name, show] of this.wantedRooms ?? []) this.join(name, show);
    this.wantedRooms = null;
  }

  /** The server has put us into a room: `epoch` is what its numbers belong to, `seq` the last, `since` that of its last gap. */
  joined(name, { epoch, seq, since }, purpose) {
    const conversation = this.chat.ensure("room", name);
    if (purpose?.show || !this.chat.open) this.chat.show(conversation);
    conversation.joined = true;
    conversation.moved = conversation.lastSeq !== null && conversation.epoch !== epoch;
    conversation.epoch = epoch;
    conversation.since = Number.isFinite(since) ? since : 0;
    conversation.awaited = Number.isFinite(seq) ? seq : 0;
    conversation.pieces = [];
    this.#rememberRooms();
    // A room that has kept nothing sends no history. Then this answer, which comes after it, says so.
    const same = !conversation.moved && conversation.awaited === conversation.lastSeq;
    if (!same || this.chat.open === conversation) this.who(conversation);
    else this.caughtUp(conversation);
  }

  /** The history of a room that was joined, or a piece of it. The last piece has the room's last message. */
  heardHistory(conversation, messages) {
    if (conversation.awaited === null) return;
    conversation.pieces.push(...messages);
    if (!messages.some(({ seq }) => seq >= conversation.awaited)) return;
    this.caughtUp(conversation);
  }

  /** A message may come between two pieces of the history; then it waits for the rest. */
  holdsBack({ awaited, pieces }, message) {
    const holds = awaited !== null && pieces.length > 0 && pieces.length < KEPT_ENTRIES && Number.isFinite(message.seq);
    if (holds) pieces.push(message);
    return holds;
  }

  /** What there is to know of the time before joining is known. */
  caughtUp(conversation) {
    if (conversation.awaited === null) return;
    const pieces = conversation.pieces.sort((a, b) => a.seq - b.seq);
    conversation.pieces = [];
    catchUp(this.chat, conversation, pieces);
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
    if (room && (!conversation.joined || conversation.awaited !== null)) return;
    const request = room
      ? { type: me ? "me" : "say", room: conversation.name, text }
      : { type: "tell", to: conversation.name, text };
    entry.id = this.request(request, purpose);
    entry.sent = this.requests.has(entry.id);
  }

  #cutOff() {
    this.requests.clear();
    for (const conversation of this.chat.rooms()) {
      conversation.joined = false;
      conversation.awaited = null;
      conversation.pieces = [];
      conversation.members = conversation.count = null;
    }
    this.chat.emit("members", { conversation: this.chat.open });
  }

  #rememberRooms() {
    rememberRooms(this.chat.rooms().map(({ name }) => name));
  }
}
