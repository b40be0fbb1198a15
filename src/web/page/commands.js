// The parser turns typed text into an action. It has the commands of the line listener that apply to the page.

export const HELP = [
  ["/me TEXT", "say what you do"],
  ["/msg NAME TEXT", "say something to one person"],
  ["/nick NAME", "change your name"],
  ["/join ROOM", "join a room, or go to it"],
  ["/leave", "leave this room"],
  ["/who", "list who is here"],
  ["/whois NAME", "show the account of somebody, and since when they are here"],
  ["/rooms", "list all rooms"],
  ["/topic [TEXT]", "show what the room is about; moderators set it, and /topic - removes it"],
  ["/away [TEXT]", "tell people who write to you alone that you are away; without a text you are back"],
  ["/login NAME TOKEN", "log in to your account"],
  ["/register", "make your name an account of yours"],
  ["/kick NAME [REASON]", "moderators: disconnect somebody"],
  ["/mute NAME [TIME]", "moderators: refuse somebody's messages, for a time as in 10m, 2h or 7d"],
  ["/unmute NAME", "moderators: let somebody speak again"],
  ["/ban WHO [TIME] [REASON]", "moderators: keep a name, an address or a network out"],
  ["/unban WHO", "moderators: lift a ban"],
  ["/bans", "moderators: list the bans"],
  ["/quit", "leave the chat"],
  ["//text", "say /text"],
];

const COMMANDS = {
  help: () => ({ do: "help" }),
  me: (rest) => needs(rest, "/me TEXT") ?? { do: "me", text: rest },
  msg: (rest) => {
    const [to, text] = firstWord(rest);
    return needs(to, "/msg NAME TEXT") ?? { do: "tell", to, text };
  },
  nick: (rest) => needs(rest, "/nick NAME") ?? { do: "nick", name: rest },
  join: (rest) => needs(rest, "/join ROOM") ?? { do: "join", room: roomName(rest) },
  leave: (rest) => ({ do: "leave", room: roomName(rest) }),
  who: (rest) => ({ do: "who", room: roomName(rest) }),
  whois: (rest) => needs(rest, "/whois NAME") ?? call("whois", { name: rest }),
  rooms: () => ({ do: "rooms" }),
  topic: (rest) => ({ do: "topic", text: rest === "-" ? "" : rest || undefined }),
  away: (rest) => call("away", { text: rest || undefined }),
  login: (rest) => {
    const [first, second, surplus] = rest.split(/\s+/).filter(Boolean);
    if (surplus) return refuse(LOGIN_USAGE);
    return second ? { do: "login", name: first, token: second } : { do: "login", token: first };
  },
  register: () => ({ do: "register" }),
  kick: (rest) => {
    const [name, reason] = firstWord(rest);
    return needs(name, "/kick NAME [REASON]") ?? call("kick", { name, reason: reason || undefined });
  },
  mute: (rest) => {
    const [name, time] = firstWord(rest);
    const seconds = secondsOf(time);
    return needs(name && (!time || seconds), "/mute NAME [TIME], as in 10m, 2h or 7d") ?? call("mute", { name, seconds });
  },
  unmute: (rest) => needs(rest, "/unmute NAME") ?? call("unmute", { name: rest }),
  ban: (rest) => {
    const [target, others] = firstWord(rest);
    const [time, after] = firstWord(others);
    const seconds = secondsOf(time);
    const reason = (seconds ? after : others) || undefined;
    // Without its time a ban would be endless, so a mistyped one must not become the reason.
    const isMistyped = !seconds && /^\d/.test(time);
    const usage = "/ban WHO [TIME] [REASON], with a time as in 10m, 2h or 7d";
    return needs(target && !isMistyped, usage) ?? call("ban", { target, seconds, reason });
  },
  unban: (rest) => needs(rest, "/unban WHO") ?? call("unban", { target: rest }),
  bans: () => call("bans", {}),
  quit: () => ({ do: "quit" }),
};

const LOGIN_USAGE = "Nothing was sent. Usage: /login NAME TOKEN";
/** A line that looks like a login may contain a token, so it is neither sent nor shown. */
const LIKE_LOGIN = /^\s*\/\s*login/im;
const LOGIN = /^\/login(\s|$)/i;

const UNIT_SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Normalizes the name of a room: "#Dev" is "dev". The server checks whether it is valid. */
export function roomName(text) {
  return text.trim().replace(/^#/, "").toLowerCase();
}

export function parse(input) {
  const text = input.trim();
  if (LIKE_LOGIN.test(text) && !LOGIN.test(text)) return refuse(LOGIN_USAGE);
  if (!text.startsWith("/")) return { do: "say", text };
  if (text.startsWith("//")) return { do: "say", text: text.slice(1) };
  const [, word, rest] = /^\/(\S*)\s*([^]*)$/.exec(text);
  const name = word.toLowerCase();
  // `hasOwn` excludes inherited names such as /constructor.
  if (!Object.hasOwn(COMMANDS, name)) return refuse(`There is no command /${word}. /help lists them.`);
  return COMMANDS[name](rest);
}

/** An action that sends one request to the server. */
function call(type, fields) {
  return { do: "call", request: { type, ...fields } };
}

function refuse(text) {
  return { do: "refuse", text };
}

function needs(argument, usage) {
  return argument ? null : refuse(`Usage: ${usage}`);
}

function firstWord(text) {
  const [, word, rest] = /^(\S*)\s*([^]*)$/.exec(text);
  return [word, rest];
}

/** The seconds of a time such as 10m, or undefined. */
function secondsOf(time) {
  const [, count, unit] = /^(\d+)([smhd])$/.exec(time) ?? [];
  return unit && Number(count) * UNIT_SECONDS[unit];
}
