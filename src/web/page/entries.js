// One entry of the log as an element.

import { avatar, el, hue } from "./dom.js";
import { linkify } from "./links.js";

/** JSON longer than this is folded away. */
const DATA_SHOWN = 300;
/** Messages of one sender within this time stand under one name. */
const GROUP_MS = 5 * 60_000;

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** `actions` are { resend(entry), discard(entry) }, for a message that failed. */
export function renderEntry(entry, actions) {
  return entry.kind === "line" ? renderLine(entry) : renderMessage(entry, actions);
}

/** Whether an entry can do without a name of its own below that other one. */
export function continues(entry, other) {
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
  const said = entry.me ? deed(entry) : [head(entry), body(entry)];
  item.append(avatar(entry.from), el("div", { class: "said" }, ...said));
  if (entry.status === "pending") item.append(el("span", { class: "fate" }, entry.sent ? "sending" : "to be sent"));
  if (entry.status === "failed") item.append(failure(entry, actions));
  return item;
}

function head(entry) {
  const you = entry.own ? [el("span", { class: "you" }, "you"), " "] : [];
  return el("div", { class: "head" }, name(entry), " ", ...you, ...via(entry), time(entry.at));
}

/** How a message came that no client sent: anybody may have used the name. The server's own name says it already. */
function via({ via, from }) {
  if (via === null || via === from) return [];
  const title = "Published by a program, under a name that nobody here had";
  return [el("span", { class: "via", title }, `via ${via}`), " "];
}

function body(entry) {
  if ("data" in entry) return dataBody(entry.json);
  return el("p", { class: "text", dir: "auto" }, ...linkify(entry.text));
}

/** What somebody does: the name is part of the sentence. */
function deed(entry) {
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
