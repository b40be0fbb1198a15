// The whole chat as this page knows it. It tells what changes; what it looks like is the view's business.
//
// Events: "list" (conversations, unread counts, own name), "shown" (another conversation is open), "members" and
// "added", "changed", "removed", "marker", "silence", "topic" (in the conversation of the detail), "advice" (a line with
// nowhere to go). account.js has those of the account.

import { Conversation, keyOf, lineEntry, messageEntry } from "./conversation.js";
import { Requests } from "./requests.js";
import { rememberIds, rememberedIds } from "./storage.js";

/** Private conversations that are kept; past that the one that has been quiet longest is closed. */
export const KEPT_PRIVATE = 50;
/** Connections of this tab whose messages are known as the reader's own. */
const KEPT_IDS = 50;

export class Chat extends EventTarget {
  /** Our name as the server has it; null before the first welcome. */
  name = null;
  /** The id of our connection: what only names us may mean somebody else. Null before the first welcome. */
  id = null;
  /** By key, in the order they are listed. */
  conversations = new Map();
  /** Strangers who want to talk. */
  requests = new Requests();
  /** The conversation that is shown, if any. */
  open = null;
  /** Whether somebody can see the page. */
  watched = true;
  #ids = rememberedIds();
  #additions = 0;

  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  find(kind, name) {
    return this.conversations.get(keyOf(kind, String(name)));
  }

  /** The conversation of that name, new if need be. */
  ensure(kind, name) {
    const known = this.find(kind, name);
    if (known) return known;
    const conversation = new Conversation(kind, name);
    conversation.touched = ++this.#additions;
    this.conversations.set(conversation.key, conversation);
    if (kind === "private") this.#closeQuietest(conversation);
    this.emit("list");
    return conversation;
  }

  /** The private conversation that the reader wants with somebody. What they have written already is in it. */
  accept(name) {
    const conversation = this.ensure("private", name);
    const request = this.requests.take(name);
    for (const entry of request?.entries ?? []) this.#hearPrivate(conversation, entry);
    return conversation;
  }

  ignore(name) {
    this.requests.ignore(name);
    this.emit("list");
  }

  /** Somebody has written to us alone. Only who was answered or accepted before has a conversation. */
  hearPrivate(event) {
    const entry = messageEntry(event, this.isOwn(event.by));
    const conversation = this.find("private", entry.from) ?? (entry.own ? this.ensure("private", entry.from) : null);
    if (conversation) return this.#hearPrivate(conversation, entry);
    this.requests.add(entry);
    this.emit("list");
  }

  #hearPrivate(conversation, entry) {
    const { by } = conversation;
    if (!entry.own) conversation.by = entry.by;
    if (by && conversation.by !== by) this.advise(`${entry.from} is here anew, or is somebody else now`, "info", conversation);
    this.add(conversation, entry, true);
  }

  /** One private conversation makes way for another if there are too many: unread ones last, the open one never. */
  #closeQuietest(fresh) {
    const all = this.all().filter(({ kind }) => kind === "private");
    if (all.length <= KEPT_PRIVATE) return;
    const closable = all.filter((one) => one !== fresh && one !== this.open);
    const busy = (one) => one.unread > 0 || one.draft !== "" || one.entries.some(({ status }) => status === "pending");
    const [quietest] = closable.sort((a, b) => busy(a) - busy(b) || a.touched - b.touched);
    this.drop(quietest);
    this.advise(`Closed the conversation with ${quietest.name}: no more than ${KEPT_PRIVATE} are kept`, "info", fresh);
  }

  /** Rooms first, then private conversations, as they are listed. */
  all() {
    const all = [...this.conversations.values()];
    return [...all.filter(({ kind }) => kind === "room"), ...all.filter(({ kind }) => kind === "private")];
  }

  rooms() {
    return this.all().filter(({ kind }) => kind === "room");
  }

  get unread() {
    return this.all().reduce((sum, { unread }) => sum + unread, 0);
  }

  show(conversation) {
    if (this.open === conversation) return;
    this.#unmark(this.open);
    this.open = conversation;
    this.#read();
    this.emit("shown", conversation);
    this.emit("list");
  }

  /** Takes a conversation off the list, and shows its neighbour if it was open. */
  drop(conversation) {
    const all = this.all();
    const at = all.indexOf(conversation);
    this.conversations.delete(conversation.key);
    if (this.open === conversation) this.show(all[at - 1] ?? all[at + 1] ?? null);
    this.emit("list");
  }

  /** The id of a new connection of ours. */
  setId(id) {
    this.id = id;
    this.#ids = [...this.#ids, id].slice(-KEPT_IDS);
    rememberIds(this.#ids);
  }

  /** Whether something was done by this tab, whatever it was called then. */
  isOwn(id) {
    return this.#ids.includes(id);
  }

  setName(name) {
    this.name = name;
    this.emit("list");
  }

  /** The page came into sight, or went out of it. */
  setWatched(watched) {
    this.watched = watched;
    if (watched) this.#read();
    else this.#unmark(this.open);
    this.emit("list");
  }

  /** Adds an entry; `counts` if it is news that may be unread. */
  add(conversation, entry, counts = false) {
    if (counts && !entry.own && !(this.watched && this.open === conversation)) {
      conversation.unread++;
      conversation.firstUnread ??= entry;
      this.emit("list");
    }
    conversation.touched = ++this.#additions;
    conversation.insert(entry);
    this.emit("added", { conversation, entry });
  }

  change(conversation, entry, changes = {}) {
    Object.assign(entry, changes);
    this.emit("changed", { conversation, entry });
  }

  remove(conversation, entry) {
    conversation.remove(entry);
    this.emit("removed", { conversation, entry });
  }

  /** The server has given an own message its place: from where it waited it goes there. */
  confirm(conversation, pending, entry) {
    this.remove(conversation, pending);
    this.add(conversation, entry);
  }

  /** Says something to the reader, in the open conversation unless another is meant. */
  advise(text, tone = "info", conversation = this.open) {
    if (conversation) this.add(conversation, lineEntry(text, tone));
    else this.emit("advice", text);
  }

  /** `names` are all who are there, or with `more` some of them; null if only the number is known. */
  setMembers(conversation, names, count, more = false) {
    if (names) conversation.members = new Set(more ? [...(conversation.members ?? []), ...names] : names);
    if (Number.isFinite(count)) conversation.count = count;
    this.emit("members", { conversation });
  }

  /** Whether the reader may speak in a room: `reason` says why not. */
  setSilence(conversation, reason) {
    conversation.silence = reason;
    this.emit("silence", { conversation });
  }

  setTopic(conversation, topic) {
    conversation.topic = topic;
    this.emit("topic", { conversation });
  }

  #read() {
    if (this.open && this.watched) this.open.unread = 0;
  }

  #unmark(conversation) {
    if (!conversation?.firstUnread) return;
    conversation.firstUnread = null;
    this.emit("marker", { conversation });
  }
}
