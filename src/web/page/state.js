// The model of the chat. It emits an event for each change, and the views draw it:
// - "list": the conversations, their unread counts or the own name have changed.
// - "shown": another conversation is open.
// - "members", "added", "changed", "removed", "marker", "silence", "topic": the conversation of the detail has changed.
// - "notice": the detail is a line for the reader while no conversation is open.
//
// The events of the account are in account.js.

import { Conversation, keyOf, lineEntry, messageEntry } from "./conversation.js";
import { Requests } from "./requests.js";
import { storeIds, storedIds } from "./storage.js";

/** Private conversations that are kept. Beyond that the least recently used one is closed. */
export const KEPT_PRIVATE = 50;
/** Connection ids of this tab that are kept, to recognise the reader's own messages. */
const KEPT_IDS = 50;

export class Chat extends EventTarget {
  /** The reader's name on the server. Null before the first welcome. */
  name = null;
  /** The id of the current connection, because another client may have the same name. Null before the first welcome. */
  id = null;
  /** Conversations by key, in the order of the list. */
  conversations = new Map();
  /** Private messages of strangers. */
  requests = new Requests();
  /** The conversation that is shown, or null. */
  open = null;
  /** Whether the page is visible. */
  isVisible = true;
  #ids = storedIds();
  #additions = 0;

  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  find(kind, name) {
    return this.conversations.get(keyOf(kind, String(name)));
  }

  /** Returns the conversation of that name, and creates it if it does not exist. */
  ensure(kind, name) {
    const known = this.find(kind, name);
    if (known) return known;
    const conversation = new Conversation(kind, name);
    conversation.lastAddition = ++this.#additions;
    this.conversations.set(conversation.key, conversation);
    if (kind === "private") this.#closeLeastRecent(conversation);
    this.emit("list");
    return conversation;
  }

  /** Opens a private conversation, and moves the messages of a pending request into it. */
  accept(name) {
    const conversation = this.ensure("private", name);
    const request = this.requests.take(name);
    for (const entry of request?.entries ?? []) this.#addPrivate(conversation, entry);
    return conversation;
  }

  ignore(name) {
    this.requests.ignore(name);
    this.emit("list");
  }

  /** Receives a private message. A sender without a conversation becomes a request. */
  receivePrivate(event) {
    const entry = messageEntry(event, this.isOwn(event.by));
    const conversation = this.find("private", entry.from) ?? (entry.own ? this.ensure("private", entry.from) : null);
    if (conversation) return this.#addPrivate(conversation, entry);
    this.requests.add(entry);
    this.emit("list");
  }

  #addPrivate(conversation, entry) {
    const { by } = conversation;
    if (!entry.own) conversation.by = entry.by;
    if (by && conversation.by !== by) this.notify(`${entry.from} is here anew, or is somebody else now`, "info", conversation);
    this.add(conversation, entry, true);
  }

  /** Evicts a private conversation if there are too many: those with unread messages last, the open one never. */
  #closeLeastRecent(fresh) {
    const all = this.all().filter(({ kind }) => kind === "private");
    if (all.length <= KEPT_PRIVATE) return;
    const closable = all.filter((one) => one !== fresh && one !== this.open);
    const busy = (one) => one.unread > 0 || one.draft !== "" || one.entries.some(({ status }) => status === "pending");
    const [leastRecent] = closable.sort((a, b) => busy(a) - busy(b) || a.lastAddition - b.lastAddition);
    this.drop(leastRecent);
    this.notify(`Closed the conversation with ${leastRecent.name}: no more than ${KEPT_PRIVATE} are kept`, "info", fresh);
  }

  /** All conversations in the order of the list: rooms first. */
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
    this.#clearMarker(this.open);
    this.open = conversation;
    this.#markRead();
    this.emit("shown", conversation);
    this.emit("list");
  }

  /** Removes a conversation from the list, and shows its neighbour if it was open. */
  drop(conversation) {
    const all = this.all();
    const at = all.indexOf(conversation);
    this.conversations.delete(conversation.key);
    if (this.open === conversation) this.show(all[at - 1] ?? all[at + 1] ?? null);
    this.emit("list");
  }

  /** Records the id of a new connection. */
  setId(id) {
    this.id = id;
    this.#ids = [...this.#ids, id].slice(-KEPT_IDS);
    storeIds(this.#ids);
  }

  /** Whether an id is of a connection of this tab, current or earlier. */
  isOwn(id) {
    return this.#ids.includes(id);
  }

  setName(name) {
    this.name = name;
    this.emit("list");
  }

  /** Records whether the page is visible. */
  setVisible(isVisible) {
    this.isVisible = isVisible;
    if (isVisible) this.#markRead();
    else this.#clearMarker(this.open);
    this.emit("list");
  }

  /** Adds an entry. With `counts` it is unread unless its conversation is visible. */
  add(conversation, entry, counts = false) {
    if (counts && !entry.own && !(this.isVisible && this.open === conversation)) {
      conversation.unread++;
      conversation.firstUnread ??= entry;
      this.emit("list");
    }
    conversation.lastAddition = ++this.#additions;
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

  /** Replaces a pending message by the confirmed one, in the server's order. */
  confirm(conversation, pending, entry) {
    this.remove(conversation, pending);
    this.add(conversation, entry);
  }

  /** Shows a line to the reader, by default in the open conversation. */
  notify(text, tone = "info", conversation = this.open) {
    if (conversation) this.add(conversation, lineEntry(text, tone));
    else this.emit("notice", text);
  }

  /** `names` are all members, more of them with `more`, or null if only the count is known. */
  setMembers(conversation, names, count, more = false) {
    if (names) conversation.members = new Set(more ? [...(conversation.members ?? []), ...names] : names);
    if (Number.isFinite(count)) conversation.count = count;
    this.emit("members", { conversation });
  }

  /** Sets the reason why the reader may not speak in a room, or null. */
  setSilence(conversation, reason) {
    conversation.silence = reason;
    this.emit("silence", { conversation });
  }

  setTopic(conversation, topic) {
    conversation.topic = topic;
    this.emit("topic", { conversation });
  }

  #markRead() {
    if (this.open && this.isVisible) this.open.unread = 0;
  }

  #clearMarker(conversation) {
    if (!conversation?.firstUnread) return;
    conversation.firstUnread = null;
    this.emit("marker", { conversation });
  }
}
