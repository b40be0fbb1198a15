// The entry point creates all parts, and executes the commands of the reader. The files of this folder are:
//
// - client: the connection, reconnects and catch-up, also for applications
// - session: requests to the server
// - events: handlers of the server's messages
// - naming, account: the reader's name and login
// - state, conversation, requests: the model, which is the chat, its conversations, and the requests of strangers
// - log, lists and the rest: the views, which subscribe to the events of the model and don't call each other

import { answerLines } from "./answers.js";
import { conversationInAddress, nameInAddress, showInAddress } from "./address.js";
import { RequestsDialog } from "./requests-dialog.js";
import { Banner } from "./banner.js";
import { Client } from "./client.js";
import { HELP, parse, roomName } from "./commands.js";
import { Composer } from "./composer.js";
import { NameDialog, RoomDialog } from "./dialogs.js";
import { byId } from "./dom.js";
import { Drawers } from "./drawers.js";
import { oncePerFrame } from "./frames.js";
import { Lists } from "./lists.js";
import { LogView } from "./log.js";
import { LoginDialog, TokenDialog } from "./login.js";
import { MemberDialog } from "./member.js";
import { OwnAccount } from "./own-account.js";
import { Session } from "./session.js";
import { Chat } from "./state.js";
import { storedName, storedRooms, storedToken } from "./storage.js";
import { TopicView } from "./topic.js";

const FIRST_ROOM = "lobby";

const chat = new Chat();
const options = { token: storedToken() };
const connection = new Client(options);
const session = new Session(connection, chat, nameInAddress() ?? storedName(), options);
const { account } = session;
const drawers = new Drawers();
const composer = new Composer(chat, account, submit);
const roomDialog = new RoomDialog(chat, (room) => {
  drawers.close();
  session.join(room);
});
const nameDialog = new NameDialog(chat, (name) => {
  session.naming.change(name);
  if (connection.state === "open") return;
  nameDialog.close();
  connection.open();
});
const openPrivate = (name) => {
  drawers.close();
  session.openPrivate(name);
};
new RequestsDialog(chat, openPrivate);
new LoginDialog(chat, account);
new TokenDialog(chat, account);
new OwnAccount(chat, session);
new TopicView(chat, session);
const memberDialog = new MemberDialog(chat, session, openPrivate);
new Banner(connection, chat);
new Lists(chat, session, { onPick: () => drawers.close(), onAbout: (name) => memberDialog.open(name) });
new LogView(chat, {
  resend: (entry) => session.resend(chat.open, entry),
  discard: (entry) => chat.remove(chat.open, entry),
});

/** Executes the text of the input box, which is a message or a command. */
function submit(input) {
  const conversation = chat.open;
  const action = parse(input);
  const room = action.room ? chat.find("room", action.room) : conversation;
  const inRoom = room?.kind === "room";
  switch (action.do) {
    case "refuse":
      return chat.notify(action.text, "error");
    case "help":
      return HELP.forEach(([command, meaning]) => chat.notify(`${command}: ${meaning}`));
    case "say":
    case "me":
      return say(conversation, action);
    case "tell":
      return sendPrivate(action);
    case "nick":
      return session.naming.change(action.name);
    case "join":
      return session.join(action.room);
    case "leave":
      return room ? session.leave(room) : chat.notify("You are not there", "error");
    case "who":
      return inRoom ? session.who(room, { isShown: true }) : chat.notify("You are not in that room", "error");
    case "rooms":
      return chooseRoom();
    case "topic":
      return inRoom ? showAnswer(session.topic(room, action.text)) : chat.notify("You are not in that room", "error");
    case "login":
      return action.token ? showAnswer(account.logIn(action)) : chat.emit("login", null);
    case "register":
      return account.register();
    case "call":
      return showAnswer(session.call(action.request));
    case "quit":
      return connection.close();
  }
}

/** Shows the answer to a command in the conversation that is open when it arrives. */
function showAnswer(answer) {
  answer.then(
    (event) => {
      if (event) for (const line of answerLines(event)) chat.notify(line);
    },
    ({ message }) => chat.notify(message, "error"),
  );
}

function say(conversation, { do: verb, text }) {
  if (!conversation) return chat.notify("Join a room to write");
  if (verb === "me" && conversation.kind === "private") return chat.notify("/me is for rooms", "error");
  session.say(conversation, text, verb === "me");
}

function sendPrivate({ to, text }) {
  session.openPrivate(to);
  if (text.trim()) session.say(chat.open, text);
}

function chooseRoom() {
  session.listRooms();
  roomDialog.open();
}

/** Opens the conversation in the page's address. Returns false if there is none. */
function openFromAddress(target) {
  if (target?.kind === "private") session.openPrivate(target.name);
  else if (target) session.join(target.name);
  return target !== null;
}

/** Updates the title and header of the page. */
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

chat.addEventListener("list", oncePerFrame(showTitle));
chat.addEventListener("shown", ({ detail }) => {
  if (detail) showInAddress(detail);
  // On a touch screen the focus would open the keyboard.
  if (detail && window.matchMedia("(pointer: fine)").matches) composer.focus();
});
chat.addEventListener("unnamed", ({ detail }) => nameDialog.open(session.naming.wanted, detail));
chat.addEventListener("refused", ({ detail }) => {
  if (nameDialog.isOpen) nameDialog.refuse(detail);
  else chat.notify(detail, "error");
});

for (const button of document.querySelectorAll("[data-chooses-room]")) button.addEventListener("click", chooseRoom);
byId("change-name").addEventListener("click", () => {
  drawers.close();
  nameDialog.open(chat.name ?? session.naming.wanted);
});
byId("skip").addEventListener("click", () => composer.focus());
window.addEventListener("hashchange", () => openFromAddress(conversationInAddress()));
document.addEventListener("visibilitychange", () => chat.setVisible(!document.hidden));
document.addEventListener("keydown", (event) => {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  const all = chat.all();
  if (!event.altKey || !step || all.length === 0) return;
  event.preventDefault();
  chat.show(all[(all.indexOf(chat.open) + step + all.length) % all.length]);
});

function start() {
  chat.setVisible(!document.hidden);
  const target = conversationInAddress();
  const rooms = new Map(storedRooms().map((room) => [room, false]));
  if (target?.kind === "room") rooms.set(roomName(target.name), true);
  if (rooms.size === 0) rooms.set(FIRST_ROOM, target === null);
  for (const [name, show] of rooms) session.join(name, show);
  if (target?.kind === "private") session.openPrivate(target.name);
  if (session.naming.wanted || options.token) connection.open();
  else nameDialog.open("");
}

start();
