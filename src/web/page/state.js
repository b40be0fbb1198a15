// The whole chat as this page knows it. It tells what changes; what it looks like is the view's business.
//
// Events: "list" (conversations, unread counts, own name), "shown" (another conversation is open), "members" and
// "added", "changed", "removed", "marker" (in the conversation of the detail), "advice" (a line with nowhere to go).

import { Conversation, keyOf, lineEntry } from "./conversation.js";

export class Chat extends EventTarget {
  /** Our name as the server has it; null before the first welcome. */
  name = null;
  /** By key, in the order they are listed. */
  conversations = new Map();
  /** The conversation that is shown, if any. */
  open = null;
  /** Whether somebody can see the page. */
  watched = true;

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
    this.conversations.set(conversation.key, conversation);
    this.emit("list");
    return conversation;
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
    const { before, dropped } = conversation.insert(entry);
    this.emit("added", { conversation, entry, before });
    for (const old of dropped) this.emit("removed", { conversation, entry: old });
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

  setMembers(conversation, names, count) {
    if (names) conversation.members = new Set(names);
    if (Number.isFinite(count)) conversation.count = count;
    this.emit("members", { conversation });
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
