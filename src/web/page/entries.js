// Renders an entry of the log as an element.

import { avatar, el, hue } from "./dom.js";
import { linkify } from "./links.js";

/** Longest JSON that is shown without a click, in characters. */
const DATA_SHOWN = 300;
/** Messages of one sender within this time are grouped under one name. */
const GROUP_MS = 5 * 60_000;

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** `actions` are { resend(entry), discard(entry) } for failed messages. */
export function renderEntry(entry, actions) {
  return entry.kind === "line" ? renderLine(entry) : renderMessage(entry, actions);
}

/** Whether an entry is shown without a name below the entry `other`. */
export function isGrouped(entry, other) {
  return (
    entry.kind === "message" &&
    other?.kind === "message" &&
    entry.from === other.from &&
    entry.own === other.own &&
    (entry.own || entry.by === other.by) &&
    entry.via === other.via &&
    !entry.me &&
    !other.me &&
    entry.at - other.at < GROUP_MS
  );
}

function renderLine(entry) {
  return el("li", { class: `line ${entry.tone}` }, el("span", { dir: "auto" }, entry.text), " ", time(entry.at));
}

function renderMessage(entry, actions) {
  const status = entry.own ? ` own ${entry.status}` : "";
  const item = el("li", { class: `message${status}${entry.me ? " action" : ""}` });
  const content = entry.me ? emote(entry) : [head(entry), body(entry)];
  item.append(avatar(entry.from), el("div", { class: "content" }, ...content));
  if (entry.status === "pending") item.append(el("span", { class: "delivery" }, entry.sent ? "sending" : "to be sent"));
  if (entry.status === "failed") item.append(failure(entry, actions));
  return item;
}

function head(entry) {
  const you = entry.own ? [el("span", { class: "you" }, "you"), " "] : [];
  return el("div", { class: "head" }, name(entry), " ", ...you, ...via(entry), time(entry.at));
}

/** Marks a message that no client sent, because its sender can use any name. The server's own name needs no mark. */
function via({ via, from }) {
  if (via === null || via === from) return [];
  const title = "Published by a program, under a name that nobody here had";
  return [el("span", { class: "via", title }, `via ${via}`), " "];
}

function body(entry) {
  if ("data" in entry) return dataBody(entry.json);
  return el("p", { class: "text", dir: "auto" }, ...linkify(entry.text));
}

/** An emote: the name is part of the sentence. */
function emote(entry) {
  const text = linkify(entry.text ?? entry.json);
  return [el("p", { class: "text", dir: "auto" }, name(entry), " ", ...text), " ", ...via(entry), time(entry.at)];
}

function name({ from }) {
  return el("bdi", { class: `name ${hue(from)}` }, from);
}

function dataBody(json) {
  if (json.length <= DATA_SHOWN) return el("code", { class: "data" }, json);
  const summary = el("summary", {}, el("code", { class: "data" }, `${json.slice(0, DATA_SHOWN / 2)}…`));
  return el("details", {}, summary, el("code", { class: "data whole" }, json));
}

function failure(entry, actions) {
  return el(
    "div",
    { class: "failure" },
    el("span", {}, `Not sent: ${entry.problem}`),
    el("button", { type: "button", class: "quiet", click: () => actions.resend(entry) }, "Send again"),
    el("button", { type: "button", class: "quiet", click: () => actions.discard(entry) }, "Discard"),
  );
}

function time(at) {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return "";
  const today = date.toDateString() === new Date().toDateString();
  const attributes = { datetime: date.toISOString(), title: full.format(date) };
  return el("time", attributes, (today ? clock : calendar).format(date));
}
