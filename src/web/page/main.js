// Puts the parts together, and carries out what the reader asks for. The map of this folder:
//
// client          the connection, opened again whenever it breaks, and what was missed meanwhile; also for applications
// session         requests to the server; hearing: its messages; naming: getting the name that the reader wants;
//                 account: logging in to an account
// state           the chat as we know it; conversation: one room of it; requests: strangers who want one
// log, lists, …   what is seen of it; they listen to the state, draw once a frame, and never talk to each other

import { answerLines } from "./answers.js";
import { nameInAddress, placeInAddress, putInAddress } from "./address.js";
import { RequestsDialog } from "./asking.js";
import { Banner } from "./banner.js";
import { Client } from "./client.js";
import { HELP, parse, roomName } from "./commands.js";
import { Composer } from "./composer.js";
import { NameDialog, RoomDialog } from "./dialogs.js";
import { byId } from "./dom.js";
import { Drawers } from "./drawers.js";
import { onceAFrame } from "./frames.js";
import { Lists } from "./lists.js";
import { LogView } from "./log.js";
import { LoginDialog, TokenDialog } from "./login.js";
import { MemberDialog } from "./member.js";
import { OwnAccount } from "./self.js";
import { Session } from "./session.js";
import { Chat } from "./state.js";
import { rememberedName, rememberedRooms, rememberedToken } from "./storage.js";
import { TopicView } from "./topic.js";

const FIRST_ROOM = "lobby";

const chat = new Chat();
const options = { token: rememberedToken() };
const connection = new Client(options);
const session = new Session(connection, chat, nameInAddress() ?? rememberedName(), options);
const { account } = session;
const drawers = new Drawers();
const composer = new Composer(chat, account, submit);
const roomDialog = new RoomDialog(chat, (room) => {
  drawers.close();
  session.join(room);
});
const nameDialog = new NameDialog(chat, (name) => {
  session.naming.want(name);
  if (connection.state === "open") return;
  nameDialog.close();
  connection.open();
});
const talkTo = (name) => {
  drawers.close();
  session.talkTo(name);
};
new RequestsDialog(chat, talkTo);
new LoginDialog(chat, account);
new TokenDialog(chat, account);
new OwnAccount(chat, session);
new TopicView(chat, session);
const memberDialog = new MemberDialog(chat, session, talkTo);
new Banner(connection, chat);
new Lists(chat, session, { picked: () => drawers.close(), about: (name) => memberDialog.ask(name) });
new LogView(chat, {
  resend: (entry) => session.resend(chat.open, entry),
  discard: (entry) => chat.remove(chat.open, entry),
});

/** What was written in the box: something to say, or a command. */
function submit(input) {
  const conversation = chat.open;
  const action = parse(input);
  const room = action.room ? chat.find("room", action.room) : conversation;
  const inRoom = room?.kind === "room";
  switch (action.do) {
    case "refuse":
      return chat.advise(action.text, "error");
    case "help":
      return HELP.forEach(([command, meaning]) => chat.advise(`${command}: ${meaning}`));
    case "say":
    case "me":
      return say(conversation, action);
    case "tell":
      return tell(action);
    case "nick":
      return session.naming.want(action.name);
    case "join":
      return session.join(action.room);
    case "leave":
      return room ? session.leave(room) : chat.advise("You are not there", "error");
    case "who":
      return inRoom ? session.who(room, { aloud: true }) : chat.advise("You are not in that room", "error");
    case "rooms":
      return chooseRoom();
    case "topic":
      return inRoom ? show(session.topic(room, action.text)) : chat.advise("You are not in that room", "error");
    case "login":
      return action.token ? show(account.logIn(action)) : chat.emit("login", null);
    case "register":
      return account.register();
    case "ask":
      return show(session.ask(action.request));
    case "quit":
      return connection.close();
  }
}

/** Shows the answer to a command in the conversation that is open by then. */
function show(answer) {
  answer.then(
    (event) => {
      if (event) for (const line of answerLines(event)) chat.advise(line);
    },
    ({ message }) => chat.advise(message, "error"),
  );
}

function say(conversation, { do: verb, text }) {
  if (!conversation) return chat.advise("Join a room to write");
  if (verb === "me" && conversation.kind === "private") return chat.advise("/me is for rooms", "error");
  session.say(conversation, text, verb === "me");
}

function tell({ to, text }) {
  session.talkTo(to);
  if (text.trim()) session.say(chat.open, text);
}

function chooseRoom() {
  session.listRooms();
  roomDialog.ask();
}

/** Goes where the page's address says; false if it says nothing. */
function follow(place) {
  if (place?.kind === "private") session.talkTo(place.name);
  else if (place) session.join(place.name);
  return place !== null;
}

/** What the page's title and header say. */
function showTitle() {
  const { open } = chat;
  const unread = chat.unread + chat.requests.size;
  const title = open?.title ?? "No conversation";
  const heading = byId("title");
  if (heading.textContent !== title) heading.textContent = title;
  document.title = `${unread > 0 ? `(${unread}) ` : ""}${open ? `${title} – ` : ""}chinwag`;
  byId("menu-unread").hidden = unread === (open?.unread ?? 0);
  byId("nothing").hidden = open !== null;
  byId("open-members").hidden = open?.kind !== "room";
  byId("members").classList.toggle("none", open?.kind !== "room");
}

chat.addEventListener("list", onceAFrame(showTitle));
chat.addEventListener("shown", ({ detail }) => {
  if (detail) putInAddress(detail);
  // On a touch screen the focus would pull up the keyboard.
  if (detail && window.matchMedia("(pointer: fine)").matches) composer.focus();
});
chat.addEventListener("unnamed", ({ detail }) => nameDialog.ask(session.naming.wanted, detail));
chat.addEventListener("refused", ({ detail }) => {
  if (nameDialog.isOpen) nameDialog.refuse(detail);
  else chat.advise(detail, "error");
});

for (const button of document.querySelectorAll("[data-chooses-room]")) button.addEventListener("click", chooseRoom);
byId("change-name").addEventListener("click", () => {
  drawers.close();
  nameDialog.ask(chat.name ?? session.naming.wanted);
});
byId("skip").addEventListener("click", () => composer.focus());
window.addEventListener("hashchange", () => follow(placeInAddress()));
document.addEventListener("visibilitychange", () => chat.setWatched(!document.hidden));
document.addEventListener("keydown", (event) => {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  const all = chat.all();
  if (!event.altKey || !step || all.length === 0) return;
  event.preventDefault();
  chat.show(all[(all.indexOf(chat.open) + step + all.length) % all.length]);
});

function start() {
  chat.setWatched(!document.hidden);
  const place = placeInAddress();
  const rooms = new Map(rememberedRooms().map((room) => [room, false]));
  if (place?.kind === "room") rooms.set(roomName(place.name), true);
  if (rooms.size === 0) rooms.set(FIRST_ROOM, place === null);
  for (const [name, show] of rooms) session.join(name, show);
  if (place?.kind === "private") session.talkTo(place.name);
  if (session.naming.wanted || options.token) connection.open();
  else nameDialog.ask("");
}

start();
