// Typed text: parse() makes it an action. The commands are those of the line listener, as far as they apply.

export const HELP = [
  ["/me TEXT", "say what you do"],
  ["/msg NAME TEXT", "say something to one person"],
  ["/nick NAME", "change your name"],
  ["/join ROOM", "join a room, or go to it"],
  ["/leave", "leave this room"],
  ["/who", "list who is here"],
  ["/rooms", "list all rooms"],
  ["/quit", "leave the chat"],
  ["//text", "say /text"],
];

const COMMANDS = {
  help: () => ({ do: "help" }),
  me: (rest) => needs(rest, "/me TEXT") ?? { do: "me", text: rest },
  msg: (rest) => {
    const [, to, text] = /^(\S*)\s*([^]*)$/.exec(rest);
    return needs(to, "/msg NAME TEXT") ?? { do: "tell", to, text };
  },
  nick: (rest) => needs(rest, "/nick NAME") ?? { do: "nick", name: rest },
  join: (rest) => needs(rest, "/join ROOM") ?? { do: "join", room: roomName(rest) },
  leave: (rest) => ({ do: "leave", room: roomName(rest) }),
  who: (rest) => ({ do: "who", room: roomName(rest) }),
  rooms: () => ({ do: "rooms" }),
  quit: () => ({ do: "quit" }),
};

/** A room as people write it: "#Dev" is "dev". Whether it is allowed the server knows best. */
export function roomName(text) {
  return text.trim().replace(/^#/, "").toLowerCase();
}

export function parse(input) {
  const text = input.trim();
  if (!text.startsWith("/")) return { do: "say", text };
  if (text.startsWith("//")) return { do: "say", text: text.slice(1) };
  const [, word, rest] = /^\/(\S*)\s*([^]*)$/.exec(text);
  const name = word.toLowerCase();
  // hasOwn, so that /constructor is no command.
  if (!Object.hasOwn(COMMANDS, name)) return { do: "refuse", text: `There is no command /${word}. /help lists them.` };
  return COMMANDS[name](rest);
}

function needs(argument, usage) {
  return argument ? null : { do: "refuse", text: `Usage: ${usage}` };
}
