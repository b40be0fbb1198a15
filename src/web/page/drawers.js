// On a narrow screen the side panes are drawers. At most one is open, and everything else is inert meanwhile.

import { byId } from "./dom.js";

export class Drawers {
  #panes;
  #main = document.querySelector("main");
  #open = null;
  #opener = null;

  constructor() {
    this.#panes = [byId("conversations"), byId("members")];
    for (const button of document.querySelectorAll("[data-opens]")) {
      button.addEventListener("click", () => this.#show(byId(button.dataset.opens), button));
    }
    for (const button of document.querySelectorAll("[data-closes]")) button.addEventListener("click", () => this.close());
    byId("backdrop").addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#open) this.close();
    });
    // On a wide screen the panes are columns.
    window.matchMedia("(min-width: 960px)").addEventListener("change", () => this.close());
    window.matchMedia("(min-width: 700px)").addEventListener("change", () => this.close());
  }

  close() {
    if (!this.#open) return;
    this.#apply(null);
    this.#opener?.focus();
    this.#opener = null;
  }

  #show(pane, opener) {
    this.#opener = opener;
    opener.setAttribute("aria-expanded", "true");
    this.#apply(pane);
    pane.querySelector("[data-closes]")?.focus();
  }

  #apply(open) {
    this.#open = open;
    for (const pane of this.#panes) {
      pane.classList.toggle("open", pane === open);
      pane.inert = open !== null && pane !== open;
    }
    this.#main.inert = open !== null;
    byId("backdrop").hidden = open === null;
    if (!open) this.#opener?.setAttribute("aria-expanded", "false");
  }
}
