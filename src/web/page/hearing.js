// Messages of the server, and their effects on the chat. A type that is not listed here is ignored.

import { answerLines, topicLine } from "./answers.js";
import { messageEntry } from "./conversation.js";

/** Names in a line that lists who is here. */
const NAMES_SHOWN = 100;
/** Names kept of a room, in case that we do not hear of all who leave. */
const KEPT_MEMBERS = 10_000;

/** In a large room the members are asked for anew after a summary, each page at a moment of its own. */
const WHO_SPREAD_MS = 4_000;

const HEARD = {
  welcome(session, event) {
    session.welcomed(String(event.name), String(event.id));
  },

  joined(session, event) {
    const { chat } = session;
    // Only a client that joins is sent the room's numbers.
    const ours = Number.isFinite(event.seq);
    if (ours) session.joined(String(event.room));
    const room = chat.find("room", event.room);
    if (!room || typeof event.name !== "string") return;
    if (!ours) {
      if (room.members?.size < KEPT_MEMBERS) room.members.add(event.name);
      chat.advise(`${event.name} joined`, "info", room);
    }
    chat.setMembers(room, null, event.count);
  },

  left(session, event) {
    const { chat } = session;
    const room = chat.find("room", event.room);
    if (!room || typeof event.name !== "string") return;
    const reason = event.reason ? ` (${event.reason})` : "";
    if (event.by === chat.id) {
      if (room.leaving) return session.forget(room);
      room.since = session.connection.position(room.name);
      room.joined = room.ready = false;
      room.members = null;
      chat.advise(`You left${reason}`, "error", room);
    } else {
      if (event.name !== chat.name) room.members?.delete(event.name);
      chat.advise(`${event.name} left${reason}`, "info", room);
    }
    chat.setMembers(room, null, event.count);
  },

  history({ chat }, { room: name, messages }) {
    const room = chat.find("room", name);
    if (room) for (const message of messages) chat.add(room, messageEntry(message, chat.isOwn(message.by)));
  },

  ready(session, event) {
    const room = session.chat.find("room", event.room);
    if (room) session.ready(room);
  },

  message(session, event) {
    const { chat } = session;
    const room = chat.find("room", event.room);
    const purpose = session.answered(event);
    if (!room) return;
    const entry = messageEntry(event, Boolean(purpose?.saying) || chat.isOwn(event.by));
    const pending = purpose?.saying ?? room.entries.find((one) => isThat(one, entry));
    if (pending) chat.confirm(room, pending, entry);
    else chat.add(room, entry, true);
  },

  private(session, event) {
    const { chat } = session;
    const saying = session.answered(event)?.saying;
    if (saying) {
      const conversation = chat.ensure("private", String(event.to));
      chat.confirm(conversation, saying, messageEntry({ ...event, me: saying.me }, true));
    } else if (!event.to && typeof event.from === "string") {
      chat.hearPrivate(event);
    }
  },

  who(session, event) {
    const room = session.chat.find("room", event.room);
    let purpose = session.answered(event);
    if (!room || !Array.isArray(event.names)) return;
    // A long answer may come in pieces, each with the id of the request.
    const more = event.id !== undefined && event.id === room.told.id;
    if (more) purpose = room.told.purpose;
    room.told = { id: event.id, purpose };
    const names = event.names.map(String);
    session.chat.setMembers(room, names, event.count, more);
    if (purpose?.aloud) session.chat.advise(`${more ? "And" : "Here"}: ${names.slice(0, NAMES_SHOWN).join(", ")}${names.length > NAMES_SHOWN ? ", …" : ""}`);
  },

  rooms(session, event) {
    const rooms = Array.isArray(event.rooms) ? event.rooms : [];
    // The purpose of a request is given out once; who has it no more has sent another piece of the answer.
    const more = !session.answered(event);
    session.chat.emit("rooms", { rooms: rooms.filter((room) => room && typeof room.room === "string"), more });
  },

  nick(session, event) {
    const { chat } = session;
    const [from, to] = [String(event.from), String(event.to)];
    const ours = event.by === chat.id;
    session.answered(event);
    for (const room of ours ? chat.rooms() : [chat.find("room", event.room)]) {
      const namesake = !ours && from === chat.name;
      const here = ours ? room.joined : room?.members?.has(from);
      room?.rename(from, to, namesake);
      const text = namesake ? `Somebody else called ${from} is ${to} now` : `${from} is ${to} now`;
      if (here) chat.advise(ours ? `You are ${to} now` : text, "info", room);
    }
    if (ours) session.naming.renamed(to);
    else follow(chat, event.by, from, to);
    chat.emit("members", { conversation: chat.open });
  },

  count(session, event) {
    const { chat } = session;
    const room = chat.find("room", event.room);
    if (!room) return;
    chat.advise(`${event.joined} joined, ${event.left} left, ${event.count} here`, "info", room);
    chat.setMembers(room, null, event.count);
    if (chat.open === room) session.whoLater(room, Math.random() * WHO_SPREAD_MS);
    else room.members = null;
  },

  login(session, event) {
    session.answered(event)?.resolve?.(event);
    session.account.loggedIn(String(event.name), String(event.role));
  },

  registered(session, event) {
    session.answered(event)?.resolve?.(event);
  },

  expiring(session, event) {
    session.account.ending(Number(event.in) || 0);
  },

  rights({ chat }, event) {
    const room = chat.find("room", event.room);
    if (room) chat.setSilence(room, event.speak === false ? String(event.text ?? "You may not speak here") : null);
  },

  topic(session, event) {
    const { chat } = session;
    const room = chat.find("room", event.room);
    const topic = event.text ? String(event.text) : null;
    const purpose = session.answered(event);
    // After each new connection the server sends the topic again, which is no news.
    if (room && room.topic !== topic) {
      chat.advise(topicLine(topic, event.from), "info", room);
      chat.setTopic(room, topic);
    }
    purpose?.resolve?.(event);
  },

  whois(session, event) {
    session.answered(event)?.resolve?.(event);
  },

  bans(session, event) {
    session.answered(event)?.resolve?.(event);
  },

  done(session, event) {
    const purpose = session.answered(event);
    if (purpose?.resolve) purpose.resolve(event);
    else for (const line of answerLines(event)) session.chat.advise(line);
  },

  notice(session, event) {
    session.chat.advise(String(event.text));
  },

  missed(session, event) {
    const { chat } = session;
    const room = event.room === undefined ? chat.open : chat.find("room", event.room);
    chat.advise(missedText(event.count), "gap", room ?? chat.open);
  },

  bye(session, event) {
    session.chat.advise(`The server says good-bye: ${event.reason}`);
  },

  error(session, event) {
    const { chat, account } = session;
    const { code } = event;
    const text = String(event.text ?? code ?? "Something went wrong");
    const purpose = session.answered(event);
    if (code === "login_required") chat.emit("login", "That needs an account");
    if (purpose?.reject) {
      purpose.reject(Object.assign(new Error(text), { code }));
    } else if (purpose?.saying) {
      chat.change(purpose.conversation, purpose.saying, { status: "failed", problem: text });
      if (code === "muted" && purpose.conversation.kind === "room") chat.setSilence(purpose.conversation, text);
    } else if (code === "login_failed" || code === "too_many_logins") {
      account.refused(code, text);
    } else if (purpose?.naming) {
      session.naming.refused(text, !purpose.quiet);
    } else if (chat.name === null || session.connection.state !== "open") {
      session.naming.refused(text, false);
    } else if (code !== "login_required") {
      chat.advise(text, "error");
    }
  },
};

/** A private conversation goes with the one who renames, unless there is one under the new name. */
function follow(chat, by, from, to) {
  chat.requests.rename(by, from, to);
  const conversation = chat.find("private", from);
  if (!conversation || chat.find("private", to) || (conversation.by ?? by) !== by) return;
  chat.conversations.delete(conversation.key);
  conversation.renameTo(to);
  chat.conversations.set(conversation.key, conversation);
  chat.emit("list");
}

/** Has each event of the client change the chat. */
export function hearAll(session) {
  for (const [type, act] of Object.entries(HEARD)) session.connection.on(type, (event) => act(session, event));
}

/** Whether a message of the reader's is the one that was sent just before the connection broke. */
function isThat(entry, { own, text, me }) {
  return own && entry.status === "pending" && entry.sent && entry.text === text && entry.me === me;
}

/** Of so many messages; without a number, of any. */
function missedText(count) {
  if (!Number.isFinite(count)) return "You may have missed messages";
  return count === 1 ? "You missed 1 message" : `You missed ${count} messages`;
}
