// Requests are private messages of strangers. The reader accepts or ignores each stranger. All memory for them is bounded.

import { fold } from "./conversation.js";

/** Requests that are kept. Beyond that the earliest are evicted. */
export const KEPT_REQUESTS = 100;
/** Limits of a request. The latest message is kept even if it is longer than `KEPT_CHARS`. */
const KEPT_MESSAGES = 10;
const KEPT_CHARS = 16 * 1024;
/** Ignored strangers that are kept, until the page is closed. */
const KEPT_IGNORED = 1000;

export class Requests {
  /** Requests { name, by, entries, count } by name, the earliest first. */
  #all = new Map();
  #ignored = new Set();
  /** Number of requests that were evicted or rejected. */
  dropped = 0;
  /** Whether eviction is off. It is off while the dialog is open, so that no item moves under the pointer. */
  isFrozen = false;

  get size() {
    return this.#all.size;
  }

  list() {
    return [...this.#all.values()];
  }

  /** Adds a message to the request of its sender. */
  add(entry) {
    const key = fold(entry.from);
    if (this.#ignored.has(entry.by ?? key)) return;
    const known = this.#all.get(key);
    if (!known && this.size >= KEPT_REQUESTS) {
      this.dropped++;
      if (this.isFrozen) return;
      this.#all.delete(this.#all.keys().next().value);
    }
    const request = known ?? { name: entry.from, by: entry.by, entries: [], count: 0 };
    // Another client has the same name now. The messages of the first one are not its own.
    if (request.by !== entry.by) Object.assign(request, { name: entry.from, by: entry.by, entries: [], count: 0 });
    request.entries.push(entry);
    request.count++;
    while (request.entries.length > KEPT_MESSAGES || (request.entries.length > 1 && chars(request) > KEPT_CHARS)) {
      request.entries.shift();
    }
    this.#all.set(key, request);
  }

  /** Removes and returns the request of that name, if there is one. */
  take(name) {
    const key = fold(name);
    const request = this.#all.get(key);
    this.#all.delete(key);
    if (this.size === 0) this.dropped = 0;
    return request;
  }

  ignore(name) {
    const request = this.take(name);
    if (!request) return;
    if (this.#ignored.size >= KEPT_IGNORED) this.#ignored.delete(this.#ignored.values().next().value);
    this.#ignored.add(request.by ?? fold(name));
  }

  /** Renames the request of a client that has renamed. */
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
