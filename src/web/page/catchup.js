// After joining a room: which of its history is news, and how much of what was said is lost to us.

import { messageEntry } from "./conversation.js";

/**
 * Compares what a room kept with what was seen of it before. `seq` is the room's last number, and what came before
 * `since` may have been followed by something that the process has not heard.
 * `anew`: nothing of what we saw is there any more. `missed`: so many are gone for good; null if nobody can know.
 */
export function compare(conversation, seq, messages) {
  const { lastSeq: last, since } = conversation;
  if (last === null) return { anew: false, missed: 0, fresh: messages };
  if (conversation.moved) return recognise(conversation, messages);
  const fresh = messages.filter((message) => message.seq > last);
  // Messages that came while the history was fetched are new, and those of the history are not.
  const had = fresh.filter((message) => message.seq <= seq).length;
  return { anew: false, missed: last < since ? null : Math.max(0, seq - last - had), fresh };
}

/** Each process numbers for itself. One that is in the same chat has the same messages, with other numbers. */
function recognise(conversation, messages) {
  const told = ({ at, from, text, data }) => JSON.stringify([at, from, text ?? null, data ?? null]);
  const seen = new Set(conversation.entries.map(told));
  const fresh = messages.filter((message) => !seen.has(told(message)));
  const last = messages.findLast((message) => seen.has(told(message)));
  return { anew: !last, missed: last?.seq < conversation.since ? null : 0, fresh };
}

/** Brings a room that was just joined up to date; `messages` is its history, or empty if none came. */
export function catchUp(chat, conversation, messages) {
  const seq = Math.max(conversation.awaited, ...messages.map((message) => message.seq));
  const again = conversation.lastSeq !== null;
  const { anew, missed, fresh } = compare(conversation, conversation.awaited, messages);
  conversation.awaited = null;
  conversation.lastSeq = seq;
  if (anew) chat.advise("The room has begun anew", "anew", conversation);
  if (missed !== 0) chat.advise(missedText(missed), "gap", conversation);
  for (const message of fresh) {
    const own = chat.isOwn(message.by);
    const unconfirmed = again && own && conversation.entries.find((entry) => isThat(entry, message));
    const entry = messageEntry(message, own);
    if (unconfirmed) chat.confirm(conversation, unconfirmed, entry);
    else chat.add(conversation, entry, again);
  }
}

/** Of so many messages; without a number, of any. */
export function missedText(count) {
  if (!Number.isFinite(count)) return "You may have missed messages";
  return count === 1 ? "You missed 1 message" : `You missed ${count} messages`;
}

/** Whether a message of ours in the history is the one we sent just before the connection broke. */
function isThat(entry, message) {
  return (
    entry.status === "pending" &&
    entry.sent &&
    entry.text === message.text &&
    entry.me === (message.me === true)
  );
}
