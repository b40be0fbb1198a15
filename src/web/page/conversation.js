// A conversation is a room or a private chat: its entries, members and unread count. It uses neither the DOM nor a socket.
//
// An entry is one of these:
// - a message { kind: "message", from, by, via, text or data, me, own, at, seq, status }
// - a line of the page itself { kind: "line", tone, text, at }
//
// The status of a message is "sent", "pending" or "failed". Only own messages can be pending or failed.
// `by` is the id of the client that sent the message. A message that no client sent has `via` instead, such as "http".

/** Limits of a conversation: all entries, lines with the tone "info", and characters. */
export const KEPT_ENTRIES = 500;
const KEPT_INFO_LINES = 100;
const KEPT_CHARS = 1 << 20;

/** Names are compared without regard to case, as on the server. */
export function fold(name) {
  return name.normalize("NFC").toLowerCase();
}

export function keyOf(kind, name) {
  return `${kind}:${fold(name)}`;
}

export class Conversation {
  /** Whether the client is a member of the room. A private conversation is never joined. */
  joined = false;
  /** Whether the catch-up is complete, so that messages can be sent to the room. */
  ready = false;
  /** Whether the reader has asked to leave. */
  leaving = false;
  /** The position at which the server has removed the reader; undefined if it has not. */
  since = undefined;
  /** The id and purpose of the last `who` answer. More pieces of it have the same id. */
  lastWho = { id: undefined, purpose: undefined };
  /** In a private conversation, the id of the last sender. Another client may have the name now. */
  by = null;
  /** Sequence number of the last entry, counted over all conversations. It orders them for eviction. */
  lastAddition = 0;
  /** The topic of a room, or null. */
  topic = null;
  /** The reason why the reader may not speak in the room, or null. */
  silence = null;
  /** Names of the members. Null before the first `who` answer. */
  members = null;
  count = null;
  entries = [];
  unread = 0;
  /** The first entry that arrived while the conversation was not visible. */
  firstUnread = null;
  draft = "";
  /** Scroll position in pixels. Null is the end. */
  scroll = null;
  #chars = 0;
  #infoLines = 0;

  constructor(kind, name) {
    this.kind = kind;
    this.renameTo(name);
  }

  renameTo(name) {
    this.name = name;
    this.key = keyOf(this.kind, name);
  }

  get title() {
    return this.kind === "room" ? `#${this.name}` : this.name;
  }

  /** Inserts an entry in order, and evicts old entries beyond the limits. */
  insert(entry) {
    let at = this.entries.length;
    // The order is the server's. Messages that it has not confirmed have no place in it yet, so they stay last.
    if (entry.status !== "pending") {
      while (at > 0 && this.entries[at - 1].status === "pending") at--;
    }
    this.entries.splice(at, 0, entry);
    this.#count(entry, 1);
    // Anybody can cause many joins and leaves, so these lines have their own limit and evict no messages.
    if (this.#infoLines > KEPT_INFO_LINES) this.#drop(this.entries.findIndex(isInfo));
    while (this.entries.length > KEPT_ENTRIES || (this.#chars > KEPT_CHARS && this.entries.length > 1)) this.#drop(0);
  }

  remove(entry) {
    const at = this.entries.indexOf(entry);
    if (at >= 0) this.#drop(at);
  }

  #drop(at) {
    const [entry] = this.entries.splice(at, 1);
    this.#count(entry, -1);
    if (entry === this.firstUnread) this.firstUnread = this.entries[at] ?? null;
  }

  #count(entry, sign) {
    this.#chars += sign * (entry.json ?? entry.text).length;
    if (isInfo(entry)) this.#infoLines += sign;
  }

  /** The pending message that was sent with this request id. */
  pending(id) {
    return this.entries.find((entry) => entry.status === "pending" && entry.id === id);
  }

  /** Renames a member. With `stays` another member still has the old name. */
  rename(from, to, stays) {
    if (!this.members?.has(from)) return;
    if (!stays) this.members.delete(from);
    this.members.add(to);
  }
}

/** Converts a message of the server into an entry. Fields of a wrong type get a default. */
export function messageEntry(event, own) {
  const entry = {
    kind: "message",
    from: String(event.from ?? "?"),
    by: typeof event.by === "string" ? event.by : null,
    via: typeof event.via === "string" ? event.via : null,
    me: event.me === true,
    own,
    at: Number.isFinite(event.at) ? event.at : Date.now(),
    seq: Number.isFinite(event.seq) ? event.seq : null,
    status: "sent",
  };
  if (event.text === undefined && "data" in event) Object.assign(entry, { data: event.data, json: JSON.stringify(event.data) });
  else entry.text = String(event.text ?? "");
  return entry;
}

function isInfo({ kind, tone }) {
  return kind === "line" && tone === "info";
}

/** A line of the page itself. Its tone is "info", "error" or "gap" (messages are missing here). */
export function lineEntry(text, tone = "info") {
  return { kind: "line", tone, text, at: Date.now() };
}
