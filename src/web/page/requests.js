// Strangers who have written in private. None gets a conversation before the reader wants one, and all that they can
// make the page keep is bounded.

import { fold } from "./conversation.js";

/** People who wait for an answer; past that the earliest give way. */
export const KEPT_REQUESTS = 100;
/** Of each, so many of the latest messages, and no more text than that unless it is in a single one. */
const KEPT_MESSAGES = 10;
const KEPT_CHARS = 16 * 1024;
/** Those whom the reader ignores; the next visit asks again. */
const KEPT_IGNORED = 1000;

export class Requests {
  /** By name, the earliest first: { name, by, entries, count }. */
  #all = new Map();
  #ignored = new Set();
  /** How many people were left out or gave way. */
  lost = 0;
  /** While the reader looks at the list nobody gives way, so that nothing moves under the pointer. */
  held = false;

  get size() {
    return this.#all.size;
  }

  list() {
    return [...this.#all.values()];
  }

  /** Somebody wrote. */
  add(entry) {
    const key = fold(entry.from);
    if (this.#ignored.has(entry.by ?? key)) return;
    const known = this.#all.get(key);
    if (!known && this.size >= KEPT_REQUESTS) {
      this.lost++;
      if (this.held) return;
      this.#all.delete(this.#all.keys().next().value);
    }
    const request = known ?? { name: entry.from, by: entry.by, entries: [], count: 0 };
    // Another connection under the same name: what the first one said is not the second one's.
    if (request.by !== entry.by) Object.assign(request, { name: entry.from, by: entry.by, entries: [], count: 0 });
    request.entries.push(entry);
    request.count++;
    while (request.entries.length > KEPT_MESSAGES || (request.entries.length > 1 && chars(request) > KEPT_CHARS)) {
      request.entries.shift();
    }
    this.#all.set(key, request);
  }

  /** Takes the request of that name off the list, if there is one. */
  take(name) {
    const key = fold(name);
    const request = this.#all.get(key);
    this.#all.delete(key);
    if (this.size === 0) this.lost = 0;
    return request;
  }

  ignore(name) {
    const request = this.take(name);
    if (!request) return;
    if (this.#ignored.size >= KEPT_IGNORED) this.#ignored.delete(this.#ignored.values().next().value);
    this.#ignored.add(request.by ?? fold(name));
  }

  /** Somebody has another name; if it was who wrote, the request goes with it. */
  rename(by, from, to) {
    const request = this.#all.get(fold(from));
    if (!request || request.by !== by || this.#all.has(fold(to))) return;
    this.#all.delete(fold(from));
    request.name = to;
    this.#all.set(fold(to), request);
  }
}

function chars({ entries }) {
  return entries.reduce((sum, { text }) => sum + text.length, 0);
}
