// One room, or one private conversation: what was said, who is there, what is unread. Knows no page and no socket.
//
// An entry is a message { kind: "message", from, by, via, text or data, me, own, at, seq, status } or a line of our own
// { kind: "line", tone, text, at }. A message's status is "sent", "pending" or "failed"; only our own can be the latter.
// `by` is the id of the client that sent it; without one it came by another way, `via` "http".

/** What one conversation keeps: entries, of these lines that only inform, and characters. */
export const KEPT_ENTRIES = 500;
const KEPT_NOTICES = 100;
const KEPT_CHARS = 1 << 20;

/** Names differ only by more than their case, as on the server. */
export function fold(name) {
  return name.normalize("NFC").toLowerCase();
}

export function keyOf(kind, name) {
  return `${kind}:${fold(name)}`;
}

export class Conversation {
  /** Whether the server counts us in. A private conversation needs no joining. */
  joined = false;
  /** Whether it shows everything up to now, and messages can be sent to it. */
  ready = false;
  /** Whether the reader wants to leave. */
  leaving = false;
  /** The position at which the server has removed the reader; undefined if it has not. */
  since = undefined;
  /** The answer that told who is there, and what it was for; that may come in pieces too. */
  told = { id: undefined, purpose: undefined };
  /** Of a private conversation, the id of who wrote last: the name may be somebody else's now. */
  by = null;
  /** When it was opened or something was last added, in additions to all conversations. */
  touched = 0;
  /** Of a room, the topic; null if there is none. */
  topic = null;
  /** Of a room, the reason why the reader may not speak in it; null if it may. */
  silence = null;
  /** Who is there; null until asked. */
  members = null;
  count = null;
  entries = [];
  unread = 0;
  /** The first entry that came while nobody looked. */
  firstUnread = null;
  draft = "";
  /** Where the reader had scrolled to; null is the end. */
  scroll = null;
  #chars = 0;
  #notices = 0;

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

  /** Puts an entry in its place; others go, if they have become too many. */
  insert(entry) {
    let at = this.entries.length;
    // All see one order, the server's. What it has not confirmed has no place in that yet, so stays last.
    if (entry.status !== "pending") {
      while (at > 0 && this.entries[at - 1].status === "pending") at--;
    }
    this.entries.splice(at, 0, entry);
    this.#count(entry, 1);
    // Comings and goings, of which anybody can make many, take no message's place.
    if (this.#notices > KEPT_NOTICES) this.#drop(this.entries.findIndex(isNotice));
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
    if (isNotice(entry)) this.#notices += sign;
  }

  /** The unconfirmed message sent with this id. */
  pending(id) {
    return this.entries.find((entry) => entry.status === "pending" && entry.id === id);
  }

  /** Somebody in it has another name now; `stays`: somebody else in it is still called as before. */
  rename(from, to, stays) {
    if (!this.members?.has(from)) return;
    if (!stays) this.members.delete(from);
    this.members.add(to);
  }
}

/** A message as the server tells it, with nothing taken on trust that would break the page. */
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

function isNotice({ kind, tone }) {
  return kind === "line" && tone === "info";
}

/** A line that nobody said: "info", "error" or "gap" (something is missing here). */
export function lineEntry(text, tone = "info") {
  return { kind: "line", tone, text, at: Date.now() };
}
