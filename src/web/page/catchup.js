// After joining a room: which of its history is news, and how much of what was said is lost to us.

import { messageEntry } from "./conversation.js";

/**
 * Compares what a room kept with what was seen of it before. `seq` is the room's last number.
 * `anew`: nothing of what we saw is there any more. `missed`: so many are gone for good.
 */
export function compare(conversation, seq, messages) {
  const last = conversation.lastSeq;
  if (last === null) return { anew: false, missed: 0, fresh: messages };
  if (conversation.moved || seq < last || contradicts(conversation, messages)) return recognise(conversation, messages);
  const fresh = messages.filter((message) => message.seq > last);
  const first = fresh.length > 0 ? fresh[0].seq : seq + 1;
  return { anew: false, missed: Math.max(0, first - last - 1), fresh };
}

/** Each process numbers for itself. One that is in the same chat has the same messages, with other numbers. */
function recognise(conversation, messages) {
  const told = ({ at, from, text, data }) => JSON.stringify([at, from, text ?? null, data ?? null]);
  const seen = new Set(conversation.entries.map(told));
  const fresh = messages.filter((message) => !seen.has(told(message)));
  return { anew: fresh.length === messages.length, missed: 0, fresh };
}

/** Whether a number now means another message: a new process may have counted past the old one meanwhile. */
function contradicts(conversation, messages) {
  const seen = new Map(conversation.entries.filter(({ seq }) => seq).map((entry) => [entry.seq, entry.at]));
  return messages.some(({ seq, at }) => seen.has(seq) && Number.isFinite(at) && seen.get(seq) !== at);
}

/** Brings a room that was just joined up to date; `messages` is its history, or empty if none came. */
export function catchUp(chat, conversation, messages) {
  const seq = Math.max(conversation.awaited, ...messages.map((message) => message.seq));
  const again = conversation.lastSeq !== null;
  const { anew, missed, fresh } = compare(conversation, conversation.awaited, messages);
  conversation.awaited = null;
  conversation.lastSeq = seq;
  if (anew) chat.advise("The room has begun anew", "anew", conversation);
  if (missed > 0) chat.advise(missedText(missed), "gap", conversation);
  for (const message of fresh) {
    const unconfirmed = again && conversation.entries.find((entry) => isThat(entry, message));
    const entry = messageEntry(message, Boolean(unconfirmed) || message.from === chat.name);
    if (unconfirmed) chat.confirm(conversation, unconfirmed, entry);
    else chat.add(conversation, entry, again);
  }
}

export function missedText(count) {
  return count === 1 ? "You missed 1 message" : `You missed ${count} messages`;
}

/** Whether a message in the history is the one we sent just before the connection broke. */
function isThat(entry, message) {
  return (
    entry.status === "pending" &&
    entry.sent &&
    entry.from === message.from &&
    entry.text === message.text &&
    entry.me === (message.me === true)
  );
}
