// The line to the server: one WebSocket at a time, opened again whenever it breaks.
//
// States: "idle" (before the first), "ended" (not wanted any more), "connecting" (until the server's welcome), "online", "waiting" (for the next try).
// Events: "state", and "message" with one decoded object of the server as its detail.

const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;
/** A connection must last so long before the next break counts as a first one. */
const STABLE_MS = 10_000;
const OPENING_MAX_MS = 15_000;
/** After so much silence the server is asked whether it is there. A browser does not show us WebSocket pings. */
const SILENCE_MS = 30_000;
const ANSWER_MAX_MS = 10_000;
const HURRIED_ANSWER_MAX_MS = 4_000;

/** Close codes after which nobody wants us back at once: we quit, or broke a rule. */
const FINAL_CODES = [1000, 1008];

/** Exponential backoff with full jitter: after a restart, pages come back spread over the time, not all at once. */
function retryDelay(attempt) {
  return Math.random() * Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** attempt);
}

export class Connection extends EventTarget {
  state = "idle";
  /** When the next try is due, while "waiting". */
  retryAt = 0;
  /** What the server said about the end, if it did. */
  reason = "";

  #address;
  #socket = null;
  #attempt = 0;
  #retry = 0;
  #stable = 0;
  #watch = 0;

  /** `address` is asked anew for each try, since the name in it may have changed. */
  constructor(address) {
    super();
    this.#address = address;
    window.addEventListener("online", () => this.#hurry());
    window.addEventListener("offline", () => this.#probe(HURRIED_ANSWER_MAX_MS));
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#hurry();
    });
  }

  /** Connects, at once if a later try is pending. */
  open() {
    if (this.#socket) return;
    clearTimeout(this.#retry);
    const socket = new WebSocket(this.#address());
    this.#socket = socket;
    this.#watch = setTimeout(() => this.#end(), OPENING_MAX_MS);
    // From here to the welcome there is no deadline: a full server lets us wait in its queue.
    socket.onopen = () => clearTimeout(this.#watch);
    socket.onmessage = (event) => this.#hear(event.data);
    socket.onclose = (event) => this.#end(event.code, event.reason);
    this.#turn("connecting");
  }

  /** To be called on the server's welcome: from now on requests are heard. */
  welcomed() {
    this.reason = "";
    this.#stable = setTimeout(() => (this.#attempt = 0), STABLE_MS);
    this.#turn("online");
  }

  /** Sends a request; false if there is nobody to send it to. */
  send(request) {
    if (this.state !== "online" || this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(request));
    return true;
  }

  /** Ends it, for good unless `open` is called again. */
  quit() {
    this.#end(1000, "");
  }

  #hear(data) {
    clearTimeout(this.#watch);
    if (this.state === "online") this.#watch = setTimeout(() => this.#probe(ANSWER_MAX_MS), SILENCE_MS);
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      console.warn("ignored what is not JSON from the server");
      return;
    }
    if (message === null || typeof message !== "object") return;
    if (message.type === "bye") this.reason = String(message.reason ?? "");
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  /** The network or the reader is back: no reason to wait, and a silent connection may be a dead one. */
  #hurry() {
    if (this.state === "waiting") this.open();
    this.#probe(HURRIED_ANSWER_MAX_MS);
  }

  /** Asks for a sign of life; whatever comes is one. */
  #probe(patience) {
    if (!this.send({ type: "ping" })) return;
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#end(), patience);
  }

  #end(code = 1006, reason = "") {
    clearTimeout(this.#retry);
    clearTimeout(this.#stable);
    clearTimeout(this.#watch);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      // A dead peer answers no close; what it may still say is for a connection that is over.
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    }
    if (reason) this.reason ||= reason;
    if (FINAL_CODES.includes(code)) return this.#turn("ended");
    const delay = retryDelay(this.#attempt++);
    this.retryAt = Date.now() + delay;
    this.#retry = setTimeout(() => this.open(), delay);
    this.#turn("waiting");
  }

  #turn(state) {
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}
