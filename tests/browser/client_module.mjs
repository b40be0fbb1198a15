// client.js with a WebSocket and a clock of this script: backoff, catch-up, renewal of tokens, the end.
// Prints the number of passed tests.

import assert from "node:assert";
import { readFile } from "node:fs/promises";

/** Virtual time in milliseconds. */
let now = 0;
let timers = [];
let lastTimer = 0;
Date.now = () => now;
globalThis.setTimeout = (act, delay) => {
  timers.push({ id: ++lastTimer, at: now + delay, act });
  return lastTimer;
};
globalThis.clearTimeout = (id) => (timers = timers.filter((timer) => timer.id !== id));

/** Lets all promises go on. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

async function pass(duration) {
  const end = now + duration;
  for (;;) {
    timers.sort((a, b) => a.at - b.at);
    if (!(timers[0]?.at <= end)) break;
    const { at, act } = timers.shift();
    now = at;
    act();
    await settle();
  }
  now = end;
}

let random = 0.5;
Math.random = () => random;

let sockets = [];
class FakeSocket {
  readyState = 0;
  sent = [];
  constructor(url) {
    this.url = new URL(url);
    sockets.push(this);
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close(code) {
    this.readyState = 3;
    this.closedWith = code;
  }
  welcome(id) {
    this.readyState = 1;
    this.onopen();
    this.receive({ type: "welcome", id, name: "ann" });
  }
  receive(object) {
    this.onmessage({ data: JSON.stringify(object) });
  }
  /** The last request of that type. */
  last(type) {
    return this.sent.findLast((request) => request.type === type);
  }
  /** Answers the last request of that type. */
  answer(type, object) {
    this.receive({ ...object, id: this.last(type).id });
  }
  /** Answers the `join`. Its messages and their end follow. */
  joins(object, ...events) {
    this.answer("join", object);
    for (const event of events) this.receive(event);
    this.answer("ping", { type: "pong" });
  }
  breakOff(code = 1006, reason = "") {
    this.onclose?.({ code, reason });
  }
}
globalThis.WebSocket = FakeSocket;
const socket = () => sockets.at(-1);

const source = await readFile(new URL("../../src/web/page/client.js", import.meta.url), "utf8");
const { Client, connect } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

/** A client, and what it has emitted as short texts. */
async function client(options) {
  sockets = [];
  timers = [];
  const client = connect({ url: "https://chat.example/", ...options });
  const seen = [];
  client.on("message", ({ seq }) => seen.push(`message ${seq}`));
  client.on("history", ({ messages }) => seen.push(`history ${messages.map(({ seq }) => seq)}`));
  client.on("missed", ({ count }) => seen.push(`missed ${count ?? "?"}`));
  client.on("ready", () => seen.push("ready"));
  client.on("error", ({ code }) => seen.push(`error ${code}`));
  client.take = () => seen.splice(0);
  await settle();
  return client;
}

const said = (seq, rest) => ({ from: "bob", by: "b", text: `m${seq}`, seq, at: seq, ...rest });
const message = (seq, rest) => ({ type: "message", room: "dev", ...said(seq, rest) });
const position = (seq, epoch = "e") => ({ type: "position", room: "dev", epoch, seq });
const history = (...seqs) => ({ type: "history", room: "dev", epoch: "e", messages: seqs.map((seq) => said(seq)) });
const joined = (seq, rest) => ({ type: "joined", room: "dev", name: "ann", by: "a", count: 2, epoch: "e", seq, ...rest });

/** A client that was in a room up to the second message, and joins again after a break. */
async function rejoined(options) {
  const ann = await client({ room: "dev", ...options });
  socket().welcome("a");
  socket().joins(joined(0));
  for (const number of [1, 2]) socket().receive(message(number));
  assert.deepStrictEqual(ann.take(), ["ready", "message 1", "message 2"]);
  socket().breakOff();
  await pass(1_000);
  socket().welcome("a2");
  const { epoch, since } = socket().last("join");
  assert.deepStrictEqual([epoch, since], ["e", 2]);
  return ann;
}

const TESTS = {
  async request_is_answered_or_refused() {
    const ann = await client({ room: "#Dev", name: "ann", token: "secret" });
    assert.strictEqual(socket().url.href, "wss://chat.example/ws?room=&name=ann&token=secret");
    await assert.rejects(ann.say("early"), { code: "closed" });
    socket().welcome("a");
    const join = { type: "join", room: "#Dev", echo: false, history: 0, id: "c2" };
    assert.deepStrictEqual(socket().sent, [join, { type: "ping", id: "c3" }]);
    socket().joins(joined(0));
    const sent = ann.send({ x: 1 });
    assert.deepStrictEqual(socket().sent.at(-1), { type: "say", room: "dev", data: { x: 1 }, id: "c4" });
    socket().answer("say", message(1, { by: "a" }));
    assert.strictEqual((await sent).seq, 1);
    const told = ann.tell("eve", "psst");
    socket().answer("tell", { type: "error", code: "nobody", text: "nobody is called eve" });
    await assert.rejects(told, { code: "nobody" });
    const cut = ann.request("who", { room: "dev" });
    socket().breakOff();
    await assert.rejects(cut, { code: "closed" });
    assert.deepStrictEqual(ann.take(), ["ready", "error nobody"], "without echo its own message is no event");
  },

  async backoff_doubles_with_full_jitter_and_has_a_bound() {
    const ann = await client();
    for (const share of [0, 0.25, 0.999]) {
      for (const longest of [1, 2, 4, 8, 16, 30, 30]) {
        random = share;
        socket().breakOff();
        assert.strictEqual(ann.state, "waiting");
        assert.strictEqual(ann.retryAt - now, share * longest * 1_000);
        await pass(share * longest * 1_000);
        assert.strictEqual(ann.state, "connecting");
      }
      // A connection that lasts makes the next break the first one.
      socket().welcome("a");
      await pass(10_000);
    }
    random = 0.5;
    socket().breakOff();
    socket().onopen = null;
    await pass(500);
    const attempts = sockets.length;
    await pass(15_000);
    assert.strictEqual(ann.state, "waiting", "an opening without an end is given up");
    assert.strictEqual(sockets.length, attempts);
  },

  async silence_is_followed_by_a_ping_and_then_by_another_connection() {
    const ann = await client({ room: "dev" });
    socket().welcome("a");
    socket().joins(joined(0));
    await pass(30_000);
    assert.strictEqual(socket().sent.at(-1).type, "ping");
    socket().receive({ type: "pong" });
    await pass(39_000);
    assert.strictEqual(ann.state, "open");
    await pass(1_000);
    assert.strictEqual(ann.state, "waiting");
  },

  async final_codes_end_the_client() {
    const rows = [
      [1000, "", "closed"],
      [1008, "you were kicked by ann", "closed"],
      [1008, "you are banned for 1 h", "closed"],
      [1008, "your token has expired", "closed"],
      [1001, "the server is shutting down", "waiting"],
      [1013, "you read too slowly", "waiting"],
      [1006, "", "waiting"],
    ];
    for (const [code, reason, state] of rows) {
      const ann = await client();
      socket().welcome("a");
      socket().breakOff(code, reason);
      assert.strictEqual(ann.state, state, `${code} ${reason}`);
      assert.strictEqual(ann.reason, reason);
    }
    const ann = await client({ getToken: () => "t" });
    socket().welcome("a");
    socket().breakOff(1008, "your token has expired");
    assert.strictEqual(ann.state, "waiting", "the next connection has another token");
    ann.close();
    assert.strictEqual(ann.state, "closed");
    await pass(60_000);
    assert.strictEqual(sockets.length, 1);
    ann.open();
    await settle();
    assert.strictEqual(sockets.length, 2);
  },

  async history_comes_first_and_once() {
    const ann = await client({ room: "dev", history: 2 });
    socket().welcome("a");
    assert.strictEqual(socket().last("join").history, 2);
    socket().joins(joined(5), history(4, 5), message(6));
    assert.deepStrictEqual(ann.take(), ["history 4,5", "message 6", "ready"]);
    assert.strictEqual(ann.position(), "e-6");
  },

  async catch_up_is_asked_for_once_and_emitted_as_it_comes() {
    const ann = await rejoined();
    socket().joins(joined(4), { type: "missed", room: "dev", count: 1 }, message(4), message(5), position(5));
    socket().receive(message(6));
    assert.deepStrictEqual(ann.take(), ["missed 1", "message 4", "message 5", "ready", "message 6"]);
    assert.deepStrictEqual(socket().sent.map(({ type }) => type), ["join", "ping"]);
  },

  async catch_up_that_is_cut_off_goes_on_where_it_was() {
    const ann = await rejoined();
    socket().answer("join", joined(4));
    socket().receive(message(3));
    socket().breakOff();
    await pass(2_000);
    socket().welcome("a3");
    assert.strictEqual(socket().last("join").since, 3);
    socket().joins(joined(4), message(4), position(4));
    assert.deepStrictEqual(ann.take(), ["message 3", "message 4", "ready"]);
  },

  async message_without_a_number_is_emitted_once() {
    const ann = await rejoined();
    socket().joins(joined(2), position(2));
    for (const uid of ["p-1", "p-2", undefined, undefined]) socket().receive(message(0, { uid }));
    socket().receive(message(5, { uid: "p-9" }));
    assert.deepStrictEqual(ann.take(), ["ready", ...Array(4).fill("message 0"), "message 5"]);
    assert.strictEqual(ann.position("dev"), "e-5");
    for (const seq of [3, 4]) socket().receive(message(seq, { uid: `p-${seq - 2}` }));
    assert.deepStrictEqual(ann.take(), [], "they have their numbers now");
    assert.strictEqual(ann.position("dev"), "e-4");
  },

  async messages_of_the_history_are_recognised() {
    const ann = await client({ room: "dev", history: 2 });
    socket().welcome("a");
    socket().joins(joined(2), { ...history(), messages: [said(1, { uid: "p-1" }), said(2, { uid: "p-2" })] });
    socket().receive({ type: "missed", room: "dev" });
    socket().receive(position(0, "f"));
    assert.strictEqual(ann.position(), "f-0");
    for (const seq of [1, 2, 3]) socket().receive(message(seq, { uid: `p-${seq}` }));
    assert.deepStrictEqual(ann.take(), ["history 1,2", "ready", "missed ?", "message 3"]);
  },

  async another_epoch_begins_at_its_first_message() {
    const ann = await rejoined();
    socket().answer("join", joined(9, { epoch: "f" }));
    socket().receive({ type: "missed", room: "dev" });
    assert.strictEqual(ann.position(), "f-0");
    socket().receive(message(1));
    socket().breakOff();
    await pass(2_000);
    socket().welcome("a3");
    const { epoch, since } = socket().last("join");
    assert.deepStrictEqual([epoch, since], ["f", 1]);
    socket().joins(joined(9, { epoch: "f" }), message(9), position(10, "f"));
    assert.deepStrictEqual(ann.take(), ["missed ?", "message 1", "message 9", "ready"]);
    assert.strictEqual(ann.position(), "f-10");
  },

  async own_messages_are_caught_up_only_with_echo() {
    for (const [echo, expected] of [[false, ["message 4", "ready"]], [true, ["message 3", "message 4", "ready"]]]) {
      const ann = await rejoined({ echo });
      socket().joins(joined(4), message(3, { by: "a" }), message(4), position(4));
      assert.deepStrictEqual(ann.take(), expected);
    }
  },

  async position_of_an_earlier_visit_is_resumed() {
    const ann = await client({ room: "dev", since: "x-1-7" });
    socket().welcome("a");
    const { epoch, since, history } = socket().last("join");
    assert.deepStrictEqual([epoch, since, history], ["x-1", 7, undefined]);
    socket().joins(joined(8, { epoch: "x-1" }), message(8), position(8, "x-1"));
    assert.deepStrictEqual(ann.take(), ["message 8", "ready"]);
  },

  async rooms_are_entered_again_until_they_are_left_or_refused() {
    const ann = await client({ room: "dev" });
    const refused = ann.join("full");
    const removed = ann.join("other");
    socket().welcome("a");
    const [dev, full, other] = socket().sent.splice(0).filter(({ type }) => type === "join");
    socket().receive({ ...joined(0), id: dev.id });
    socket().receive({ type: "error", code: "too_many_rooms", text: "full", id: full.id });
    socket().receive({ ...joined(0, { room: "other" }), id: other.id });
    await assert.rejects(refused, { code: "too_many_rooms" });
    assert.strictEqual((await removed).room, "other");
    socket().receive({ type: "left", room: "other", name: "ann", by: "a", count: 0, reason: "kicked" });
    socket().receive({ type: "left", room: "dev", name: "bob", by: "b", count: 1 });
    socket().breakOff();
    await pass(1_000);
    socket().welcome("a2");
    assert.deepStrictEqual(socket().sent.map(({ room }) => room), ["dev", undefined]);
  },

  async token_is_fetched_before_each_connection_and_before_it_expires() {
    let number = 0;
    const ann = await client({ token: "unused", getToken: async () => `t${++number}` });
    assert.strictEqual(socket().url.searchParams.get("token"), "t1");
    socket().welcome("a");
    socket().receive({ type: "expiring", in: 30 });
    await settle();
    assert.deepStrictEqual(socket().sent.at(-1), { type: "login", token: "t2" });
    socket().breakOff();
    await pass(1_000);
    assert.strictEqual(socket().url.searchParams.get("token"), "t3");
    ann.close();
  },

  async missing_token_is_an_error_and_tried_again() {
    let fails = true;
    const getToken = async () => {
      if (fails) throw new Error("logged out");
      return "t";
    };
    const ann = await client({ getToken });
    assert.deepStrictEqual(ann.take(), ["error no_connection"]);
    assert.deepStrictEqual([ann.state, sockets.length], ["waiting", 0]);
    fails = false;
    await pass(1_000);
    assert.strictEqual(sockets.length, 1);
  },

  async token_that_comes_too_late_opens_no_connection() {
    let give;
    const ann = await client({ getToken: () => new Promise((resolve) => (give = resolve)) });
    ann.close();
    give("t");
    await settle();
    assert.strictEqual(sockets.length, 0);
  },

  async new_client_waits_for_open() {
    sockets = [];
    const ann = new Client({ url: "http://h/chat/" });
    assert.deepStrictEqual([ann.state, sockets.length], ["idle", 0]);
    ann.name = "ann";
    ann.open();
    await settle();
    assert.strictEqual(socket().url.href, "ws://h/chat/ws?room=&name=ann");
    socket().welcome("a");
    socket().receive({ type: "nick", from: "ann", to: "amy", by: "a" });
    assert.strictEqual(ann.name, "amy", "the next connection asks for the new name");
  },
};

const types = await readFile(new URL("../../src/web/page/client.d.ts", import.meta.url), "utf8");
const declared = types.slice(types.indexOf("class Client"));
const exported = [...Object.getOwnPropertyNames(Client.prototype), ...Object.keys(new Client())];
for (const name of exported) assert.match(declared, new RegExp(`^  (readonly )?${name}[(:<]`, "m"), `${name} has a type`);

for (const [name, test] of Object.entries(TESTS)) {
  try {
    await test();
  } catch (error) {
    error.message = `${name}: ${error.message}`;
    throw error;
  }
}
console.log(`passed ${Object.keys(TESTS).length}`);
