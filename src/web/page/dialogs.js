// The dialogs for the reader's name and for a room.

import { byId, el, icon, plural, reconcile } from "./dom.js";
import { roomName } from "./commands.js";
import { oncePerFrame } from "./frames.js";

/** Rooms that are shown at once. The reader narrows the list by typing a part of the name. */
const ROOMS_SHOWN = 200;
/** Rooms of a long list that are kept and can be found. */
const KEPT_ROOMS = 20_000;

const order = new Intl.Collator();

/** Asks for a name, and calls `answer` with it, or with "" for a guest name. */
export class NameDialog {
  #dialog = byId("name-dialog");
  #field = byId("name-field");
  #chat;

  constructor(chat, answer) {
    this.#chat = chat;
    byId("name-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#showError("");
      answer(this.#field.value.trim());
    });
    byId("name-cancel").addEventListener("click", () => this.#dialog.close());
    // Before the first name there is no chat to return to.
    this.#dialog.addEventListener("cancel", (event) => {
      if (this.#chat.name === null) event.preventDefault();
    });
    chat.addEventListener("named", () => this.close());
  }

  get isOpen() {
    return this.#dialog.open;
  }

  open(name, error = "") {
    const first = this.#chat.name === null;
    byId("name-title").textContent = first ? "Welcome to chinwag" : error ? "Choose another name" : "Change your name";
    byId("name-submit").textContent = first ? "Enter the chat" : "Change";
    byId("name-cancel").hidden = first;
    byId("name-cancel").textContent = error ? `Stay ${this.#chat.name}` : "Cancel";
    byId("name-hint").textContent = first ? "Leave it empty to come in as a guest." : `You are ${this.#chat.name} now.`;
    this.#field.required = !first;
    this.#field.value = name;
    this.#showError(error);
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#field.select();
  }

  refuse(error) {
    this.#showError(error);
    this.#field.select();
  }

  close() {
    this.#dialog.close();
  }

  #showError(text) {
    byId("name-error").textContent = text;
    this.#field.setAttribute("aria-invalid", text !== "");
  }
}

/** Lists the rooms of the server, and calls `join` with the chosen one. */
export class RoomDialog {
  #dialog = byId("room-dialog");
  #field = byId("room-field");
  #chat;
  #join;
  #rooms = null;
  #listSoon = oncePerFrame(() => this.#list());

  constructor(chat, join) {
    this.#chat = chat;
    this.#join = join;
    byId("room-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#choose(roomName(this.#field.value));
    });
    byId("room-cancel").addEventListener("click", () => this.#dialog.close());
    this.#field.addEventListener("input", () => this.#listSoon());
    chat.addEventListener("rooms", ({ detail: { rooms, more } }) => {
      const known = new Map((more ? (this.#rooms ?? []) : []).map((room) => [room.room, room]));
      for (const room of rooms) if (known.size < KEPT_ROOMS) known.set(room.room, room);
      this.#rooms = [...known.values()].sort((a, b) => b.count - a.count || order.compare(a.room, b.room));
      this.#listSoon();
    });
  }

  open() {
    this.#field.value = "";
    this.#list();
    if (!this.#dialog.open) this.#dialog.showModal();
  }

  #choose(room) {
    if (!room) return;
    this.#dialog.close();
    this.#join(room);
  }

  #list() {
    const wanted = roomName(this.#field.value);
    const found = (this.#rooms ?? []).filter(({ room }) => room.includes(wanted));
    const rooms = found.slice(0, ROOMS_SHOWN);
    const create = ({ room }) => {
      const label = el("bdi", { class: "label" }, room);
      const button = el("button", { type: "button", class: "row", click: () => this.#choose(room) }, icon("hash"), label);
      button.append(el("span", { class: "note" }));
      return el("li", {}, button);
    };
    reconcile(byId("all-rooms"), rooms, ({ room }) => room, create, (item, { room, count }) => {
      const here = this.#chat.find("room", room) ? ", joined" : "";
      item.querySelector(".note").textContent = plural(Number(count) || 0, "person", "people") + here;
    });
    const more = found.length - rooms.length;
    const none = this.#rooms === null ? "Asking the server…" : "No such room yet. Joining it makes it.";
    byId("all-rooms-none").hidden = rooms.length > 0 && more === 0;
    byId("all-rooms-none").textContent = more > 0 ? `And ${plural(more, "more room")}: write a part of its name.` : none;
  }
}
