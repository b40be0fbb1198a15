// The client of chinwag's JSON protocol, for applications and for the chat page. client.d.ts describes what it exports.

const [FIRST_RETRY_MS, LONGEST_RETRY_MS] = [1_000, 30_000];
const STABLE_MS = 10_000;
const OPENING_MAX_MS = 15_000;
/** A browser shows no WebSocket pings, so the client sends a `ping` after a silence. */
const SILENCE_MS = 30_000;
const [ANSWER_MAX_MS, RESUME_ANSWER_MAX_MS] = [10_000, 4_000];
const SEEN_MAX = 500;
const IDS_MAX = 50;

/** The client does not reconnect after these close codes: a good-bye, and a removal (kick, ban, idle, broken rule). */
const isFinal = (code, reason, canRenew) =>
  code === 1000 || (code === 1008 && !(canRenew && /expired/i.test(reason)));

const problem = (code, text) => Object.assign(new Error(text), { code });
const keyOf = (room) => String(room).trim().replace(/^#/, "").normalize("NFC").toLowerCase();

export function connect(options) {
  const client = new Client(options);
  client.open();
  return client;
}

export class Client extends EventTarget {
  state = "idle";
  reason = "";
  retryAt = 0;
  id = null;

  #options;
  #rooms = new Map();
  #ids = [];
  #pending = new Map();
  #lastId = 0;
  #socket = null;
  #attempt = 0;
  #retryTimer;
  #stableTimer;
  #watchdog;

  constructor(options = {}) {
    super();
    this.#options = options;
    this.name = options.name ?? "";
    if (options.room) this.join(options.room, options).catch(() => {});
    globalThis.addEventListener?.("online", () => this.#resume());
    globalThis.addEventListener?.("offline", () => this.#probe(RESUME_ANSWER_MAX_MS));
    globalThis.document?.addEventListener("visibilitychange", () => document.hidden || this.#resume());
  }

  on(type, act) {
    this.addEventListener(type, ({ detail }) => act(detail));
    return this;
  }

  async open() {
    if (this.#socket) return;
    clearTimeout(this.#retryTimer);
    const attempt = (this.#socket = {});
    this.#watchdog = setTimeout(() => this.#end(), OPENING_MAX_MS);
    this.#setState("connecting");
    try {
      const { getToken } = this.#options;
      const token = getToken ? await getToken() : this.#options.token;
      if (this.#socket === attempt) this.#connect(token);
    } catch (error) {
      if (this.#socket !== attempt) return;
      this.#fail(error);
      this.#end();
    }
  }

  close() {
    this.#end(1000);
  }

  join(name, { history = 0, echo = false, since } = {}) {
    const key = keyOf(name);
    const [, epoch, seq] = /^(.*)-(\d+)$/.exec(since) ?? [];
    const room = this.#rooms.get(key) ?? { name, key, history, echo, epoch, seq: epoch && Number(seq), seen: new Set(), waiters: [] };
    this.#rooms.set(key, room);
    if (room.joined) return Promise.resolve(room.joined);
    const joined = new Promise((resolve, reject) => room.waiters.push({ resolve, reject }));
    joined.catch(() => {});
    if (this.state === "open") this.#enter(room);
    return joined;
  }

  leave(room = this.#room()) {
    if (this.#rooms.get(keyOf(room))?.joined) return this.request("leave", { room });
    this.#remove(keyOf(room), problem("left", "the room was left"));
    return Promise.resolve();
  }

  say(text, room = this.#room()) {
    return this.request("say", { room, text });
  }

  me(text, room = this.#room()) {
    return this.request("me", { room, text });
  }

  send(data, room = this.#room()) {
    return this.request("say", { room, data });
  }

  tell(to, text) {
    return this.request("tell", { to, text });
  }

  request(type, fields = {}) {
    const answer = new Promise((resolve, reject) => this.#call({ ...fields, type }, resolve, reject));
    answer.catch(() => {});
    return answer;
  }

  post(object) {
    if (this.state !== "open" || this.#socket?.readyState !== 1) return false;
    this.#socket.send(JSON.stringify(object));
    return true;
  }

  position(room = this.#room()) {
    const { epoch, seq } = this.#rooms.get(keyOf(room)) ?? {};
    return epoch && `${epoch}-${seq}`;
  }

  isOwn({ by }) {
    return this.#ids.includes(by);
  }

  #room() {
    const [room] = this.#rooms.values();
    return room?.name ?? "lobby";
  }

  #connect(token) {
    const address = new URL("ws", this.#options.url ?? import.meta.url);
    address.protocol = address.protocol.replace("http", "ws");
    address.search = new URLSearchParams({ room: "", ...(this.name && { name: this.name }), ...(token && { token }) });
    const socket = (this.#socket = new WebSocket(address.href));
    // The welcome has no deadline: a full server queues its clients.
    socket.onopen = () => clearTimeout(this.#watchdog);
    socket.onmessage = ({ data }) => this.#read(data);
    socket.onclose = ({ code, reason }) => this.#end(code, reason);
  }

  #call(request, resolve, reject) {
    const id = `c${++this.#lastId}`;
    if (this.post({ ...request, id })) this.#pending.set(id, { resolve, reject });
    else reject(problem("closed", "there is no connection"));
  }

  #read(data) {
    clearTimeout(this.#watchdog);
    if (this.state === "open") this.#watchdog = setTimeout(() => this.#probe(ANSWER_MAX_MS), SILENCE_MS);
    const event = JSON.parse(data);
    this.#emit("raw", event);
    const { type, id, by } = event;
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    const room = this.#rooms.get(keyOf(event.room));
    if (type === "welcome") this.#welcomed(event);
    else if (type === "message" && room) this.#deliver(room, event);
    else this.#emit(type, event);
    if (type === "history") for (const one of event.messages) room && this.#record(room, one);
    if (type === "position" && room) Object.assign(room, { epoch: event.epoch, seq: event.seq });
    if (type === "error") pending?.reject(problem(event.code, event.text));
    else pending?.resolve(event);
    if (type === "bye") this.reason = String(event.reason ?? "");
    if (type === "nick" && by === this.id) this.name = event.to;
    if (type === "left" && by === this.id) this.#remove(keyOf(event.room), problem("left", "the room was left"));
    if (type === "expiring") this.#renew();
  }

  #welcomed(event) {
    this.id = event.id;
    this.#ids = [...this.#ids, event.id].slice(-IDS_MAX);
    this.reason = "";
    this.#stableTimer = setTimeout(() => (this.#attempt = 0), STABLE_MS);
    this.#setState("open");
    this.#emit("welcome", event);
    for (const room of this.#rooms.values()) this.#enter(room);
  }

  #enter(room) {
    if (room.isEntering || room.joined) return;
    room.isEntering = true;
    const { name, history, echo, epoch, seq } = room;
    const from = epoch ? { epoch, since: seq } : { history };
    this.#call({ type: "join", room: name, echo, ...from }, (joined) => this.#entered(room, joined), (error) => {
      room.isEntering = false;
      if (error.code !== "closed") this.#remove(room.key, error);
    });
    // The server answers it after the missed messages.
    this.#call({ type: "ping" }, () => room.joined && this.#emit("ready", { room: room.name }), () => {});
  }

  #entered(room, joined) {
    this.#rooms.delete(room.key);
    const { room: name, epoch, seq } = joined;
    const isResumed = room.epoch === epoch;
    Object.assign(room, { name, key: keyOf(name), isEntering: false, joined, epoch, seq: isResumed ? room.seq : room.epoch ? 0 : seq });
    this.#rooms.set(room.key, room);
    for (const { resolve } of room.waiters.splice(0)) resolve(joined);
  }

  #deliver(room, event) {
    room.seq = event.seq || room.seq;
    // A message without a number, sent while Redis was disconnected, was emitted already.
    if (this.#record(room, event)) return;
    // Without echo the catch-up emits no own messages, either.
    if (room.echo || !this.isOwn(event)) this.#emit("message", event);
  }

  /** Records the uid of a message, and returns whether it was known before. */
  #record({ seen }, { uid }) {
    const isKnown = seen.has(uid);
    if (uid) seen.add(uid);
    if (seen.size > SEEN_MAX) seen.delete(seen.values().next().value);
    return isKnown;
  }

  #remove(key, error) {
    this.#rooms.get(key)?.waiters.forEach(({ reject }) => reject(error));
    this.#rooms.delete(key);
  }

  async #renew() {
    try {
      const token = await this.#options.getToken?.();
      if (token) this.post({ type: "login", token });
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error) {
    this.#emit("error", { code: "no_connection", text: String(error?.message ?? error) });
  }

  /** Connects at once if an attempt is pending, and probes an open connection. */
  #resume() {
    if (this.state === "waiting") this.open();
    this.#probe(RESUME_ANSWER_MAX_MS);
  }

  #probe(timeout) {
    if (!this.post({ type: "ping" })) return;
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#end(), timeout);
  }

  #end(code = 1006, reason = "") {
    for (const timer of [this.#retryTimer, this.#stableTimer, this.#watchdog]) clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      // A dead peer answers no close, and late events of this socket must not change the client.
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close?.(1000);
    }
    if (reason) this.reason ||= reason;
    for (const room of this.#rooms.values()) room.joined = null;
    for (const { reject } of this.#pending.values()) reject(problem("closed", "the connection ended"));
    this.#pending.clear();
    if (isFinal(code, this.reason, this.#options.getToken)) return this.#setState("closed", code);
    // Full jitter spreads the clients that reconnect after a restart.
    const delay = Math.random() * Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#attempt++);
    this.retryAt = Date.now() + delay;
    this.#retryTimer = setTimeout(() => this.open(), delay);
    this.#setState("waiting", code);
  }

  #setState(state, code) {
    this.state = state;
    this.#emit("state", { state, code, reason: this.reason, retryAt: this.retryAt });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail: { type, ...detail } }));
  }
}
