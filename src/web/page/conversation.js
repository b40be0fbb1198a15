// One room, or one private conversation: what was said, who is there, what is unread. Knows no page and no socket.
//
// An entry is a message { kind: "message", from, text or data, me, own, at, seq, status } or a line of our own
// { kind: "line", tone, text, at }. A message's status is "sent", "pending" or "failed"; only our own can be the latter.

export const KEPT_ENTRIES = 500;

/** Names differ only by more than their case, as on the server. */
export function fold(name) {
  return name.normalize("NFC").toLowerCase();
}

export function keyOf(kind, name) {
  return `${kind}:${fold(name)}`;
}

export class Conversation {
  /** The number of the last message seen; null until the room has told. */
  lastSeq = null;
  /** What it belongs to, and whether the room's numbers belong to something else since. */
  epoch = null;
  moved = false;
  /** The number of the room's last gap: what was said by others while nobody of its process was there. */
  since = 0;
  /** Whether the server counts us in. A private conversation needs no joining. */
  joined = false;
  /** The room's last number according to `joined`, while its history is still to come. */
  awaited = null;
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

  /** Puts an entry in its place, and returns which entry it is before and which have become too many. */
  insert(entry) {
    let at = this.entries.length;
    // All see one order, the server's. What it has not confirmed has no place in that yet, so stays last.
    if (entry.status !== "pending") {
      while (at > 0 && this.entries[at - 1].status === "pending") at--;
    }
    const before = this.entries[at] ?? null;
    this.entries.splice(at, 0, entry);
    const dropped = this.entries.splice(0, Math.max(0, this.entries.length - KEPT_ENTRIES));
    return { before, dropped };
  }

  remove(entry) {
    const at = this.entries.indexOf(entry);
    if (at >= 0) this.entries.splice(at, 1);
  }

  /** The unconfirmed message sent with this id. */
  pending(id) {
    return this.entries.find((entry) => entry.status === "pending" && entry.id === id);
  }

  /** Somebody in it has another name now. */
  rename(from, to) {
    if (this.members?.delete(from)) this.members.add(to);
  }
}

/** A message as the server tells it, with nothing taken on trust that would break the page. */
export function messageEntry(event, own) {
  const entry = {
    kind: "message",
    from: String(event.from ?? "?"),
    me: event.me === true,
    own,
    at: Number.isFinite(event.at) ? event.at : Date.now(),
    seq: Number.isFinite(event.seq) ? event.seq : null,
    status: "sent",
  };
  if (event.text === undefined && "data" in event) entry.data = event.data;
  else entry.text = String(event.text ?? "");
  return entry;
}

/** A line that nobody said: "info", "error", "gap" (something is missing here) or "anew". */
export function lineEntry(text, tone = "info") {
  return { kind: "line", tone, text, at: Date.now() };
}
