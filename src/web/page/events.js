// Handlers of the client's events. They update the chat, and events without a handler are ignored.

import { answerLines, topicLine } from "./answers.js";
import { messageEntry } from "./conversation.js";

/** Names in a line that lists who is here. */
const NAMES_SHOWN = 100;
/** Names kept per room. It bounds the list even if `left` events are lost. */
const KEPT_MEMBERS = 10_000;
/** Longest random delay of the `who` request after a `count` event, so that the pages in a large room don't send it at once. */
const WHO_SPREAD_MS = 4_000;

const HANDLERS = {
  welcome(session, event) {
    session.onWelcome(String(event.name), String(event.id));
  },

  joined(session, event) {
    const { chat } = session;
    // Only the client that joins gets a sequence number.
    const isOwn = Number.isFinite(event.seq);
    if (isOwn) session.onJoined(String(event.room));
    const room = chat.find("room", event.room);
    if (!room || typeof event.name !== "string") return;
    if (!isOwn) {
      if (room.members?.size < KEPT_MEMBERS) room.members.add(event.name);
      chat.notify(`${event.name} joined`, "info", room);
    }
    chat.setMembers(room, null, event.count);
  },

  left(session, event) {
    const { chat } = session;
    const room = chat.find("room", event.room);
    if (!room || typeof event.name !== "string") return;
    const reason = event.reason ? ` (${event.reason})` : "";
    if (event.by === chat.id) {
      if (room.leaving) return session.remove(room);
      room.since = session.connection.position(room.name);
      room.joined = room.ready = false;
      room.members = null;
      chat.notify(`You left${reason}`, "error", room);
    } else {
      if (event.name !== chat.name) room.members?.delete(event.name);
      chat.notify(`${event.name} left${reason}`, "info", room);
    }
    chat.setMembers(room, null, event.count);
  },

  history({ chat }, { room: name, messages }) {
    const room = chat.find("room", name);
    if (room) for (const message of messages) chat.add(room, messageEntry(message, chat.isOwn(message.by)));
  },

  ready(session, event) {
    const room = session.chat.find("room", event.room);
    if (room) session.onReady(room);
  },

  message(session, event) {
    const { chat } = session;
    const room = chat.find("room", event.room);
    const purpose = session.takePurpose(event);
    if (!room) return;
    const entry = messageEntry(event, Boolean(purpose?.entry) || chat.isOwn(event.by));
    const pending = purpose?.entry ?? room.entries.find((one) => isSameMessage(one, entry));
    if (pending) chat.confirm(room, pending, entry);
    else chat.add(room, entry, true);
  },

  private(session, event) {
    const { chat } = session;
    const sent = session.takePurpose(event)?.entry;
    if (sent) {
      const conversation = chat.ensure("private", String(event.to));
      chat.confirm(conversation, sent, messageEntry({ ...event, me: sent.me }, true));
    } else if (!event.to && typeof event.from === "string") {
      chat.receivePrivate(event);
    }
  },

  who(session, event) {
    const room = session.chat.find("room", event.room);
    let purpose = session.takePurpose(event);
    if (!room || !Array.isArray(event.names)) return;
    // A long answer may arrive in pieces, each with the id of the request.
    const more = event.id !== undefined && event.id === room.lastWho.id;
    if (more) purpose = room.lastWho.purpose;
    room.lastWho = { id: event.id, purpose };
    const names = event.names.map(String);
    session.chat.setMembers(room, names, event.count, more);
    if (purpose?.isShown) session.chat.notify(`${more ? "And" : "Here"}: ${names.slice(0, NAMES_SHOWN).join(", ")}${names.length > NAMES_SHOWN ? ", …" : ""}`);
  },

  rooms(session, event) {
    const rooms = Array.isArray(event.rooms) ? event.rooms : [];
    // The first piece of an answer takes the purpose. A piece without a purpose is a later one.
    const more = !session.takePurpose(event);
    session.chat.emit("rooms", { rooms: rooms.filter((room) => room && typeof room.room === "string"), more });
  },

  nick(session, event) {
    const { chat } = session;
    const [from, to] = [String(event.from), String(event.to)];
    const isOwn = event.by === chat.id;
    session.takePurpose(event);
    for (const room of isOwn ? chat.rooms() : [chat.find("room", event.room)]) {
      const isNamesake = !isOwn && from === chat.name;
      const here = isOwn ? room.joined : room?.members?.has(from);
      room?.rename(from, to, isNamesake);
      const text = isNamesake ? `Somebody else called ${from} is ${to} now` : `${from} is ${to} now`;
      if (here) chat.notify(isOwn ? `You are ${to} now` : text, "info", room);
    }
    if (isOwn) session.naming.onRenamed(to);
    else renamePrivate(chat, event.by, from, to);
    chat.emit("members", { conversation: chat.open });
  },

  count(session, event) {
    const { chat } = session;
    const room = chat.find("room", event.room);
    if (!room) return;
    chat.notify(`${event.joined} joined, ${event.left} left, ${event.count} here`, "info", room);
    chat.setMembers(room, null, event.count);
    if (chat.open === room) session.whoLater(room, Math.random() * WHO_SPREAD_MS);
    else room.members = null;
  },

  login(session, event) {
    session.takePurpose(event)?.resolve?.(event);
    session.account.onLogin(String(event.name), String(event.role));
  },

  registered(session, event) {
    session.takePurpose(event)?.resolve?.(event);
  },

  expiring(session, event) {
    session.account.onExpiring(Number(event.in) || 0);
  },

  rights({ chat }, event) {
    const room = chat.find("room", event.room);
    if (room) chat.setSilence(room, event.speak === false ? String(event.text ?? "You may not speak here") : null);
  },

  topic(session, event) {
    const { chat } = session;
    const room = chat.find("room", event.room);
    const topic = event.text ? String(event.text) : null;
    const purpose = session.takePurpose(event);
    // The server sends the topic again after each reconnect. An unchanged topic is not shown.
    if (room && room.topic !== topic) {
      chat.notify(topicLine(topic, event.from), "info", room);
      chat.setTopic(room, topic);
    }
    purpose?.resolve?.(event);
  },

  whois(session, event) {
    session.takePurpose(event)?.resolve?.(event);
  },

  bans(session, event) {
    session.takePurpose(event)?.resolve?.(event);
  },

  done(session, event) {
    const purpose = session.takePurpose(event);
    if (purpose?.resolve) purpose.resolve(event);
    else for (const line of answerLines(event)) session.chat.notify(line);
  },

  notice(session, event) {
    session.chat.notify(String(event.text));
  },

  missed(session, event) {
    const { chat } = session;
    const room = event.room === undefined ? chat.open : chat.find("room", event.room);
    chat.notify(missedText(event.count), "gap", room ?? chat.open);
  },

  bye(session, event) {
    session.chat.notify(`The server says good-bye: ${event.reason}`);
  },

  error(session, event) {
    const { chat, account } = session;
    const { code } = event;
    const text = String(event.text ?? code ?? "Something went wrong");
    const purpose = session.takePurpose(event);
    if (code === "login_required") chat.emit("login", "That needs an account");
    if (purpose?.reject) {
      purpose.reject(Object.assign(new Error(text), { code }));
    } else if (purpose?.entry) {
      chat.change(purpose.conversation, purpose.entry, { status: "failed", problem: text });
      if (code === "muted" && purpose.conversation.kind === "room") chat.setSilence(purpose.conversation, text);
    } else if (code === "login_failed" || code === "too_many_logins") {
      account.onRefused(code, text);
    } else if (purpose?.nick) {
      session.naming.onRefused(text, !purpose.isRetry);
    } else if (chat.name === null || session.connection.state !== "open") {
      session.naming.onRefused(text, false);
    } else if (code !== "login_required") {
      chat.notify(text, "error");
    }
  },
};

/** Renames a private conversation with its client, unless the new name has a conversation. */
function renamePrivate(chat, by, from, to) {
  chat.requests.rename(by, from, to);
  const conversation = chat.find("private", from);
  if (!conversation || chat.find("private", to) || (conversation.by ?? by) !== by) return;
  chat.conversations.delete(conversation.key);
  conversation.renameTo(to);
  chat.conversations.set(conversation.key, conversation);
  chat.emit("list");
}

/** Registers the handlers. */
export function handleEvents(session) {
  for (const [type, handle] of Object.entries(HANDLERS)) session.connection.on(type, (event) => handle(session, event));
}

/** Whether a pending entry is an own message that the server has sent back after a reconnect. */
function isSameMessage(entry, { own, text, me }) {
  return own && entry.status === "pending" && entry.sent && entry.text === text && entry.me === me;
}

/** The line for `count` lost messages. Without a number the count is unknown. */
function missedText(count) {
  if (!Number.isFinite(count)) return "You may have missed messages";
  return count === 1 ? "You missed 1 message" : `You missed ${count} messages`;
}
