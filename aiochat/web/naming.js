// What one is called: the button that shows it, and the dialog in which to change it.

import { part } from "./dom.js";
import { shownName, coloured } from "./names.js";
import { visible } from "./safe.js";

export class Naming {
  #chat;
  #button = part("me");
  #dialog = part("naming");
  #field = part("name");
  #trouble = part("trouble");
  #page;

  /** `page.rename` takes the name, and resolves when it is given; `page.refused` is told why not, after the dialog is
   * closed. */
  constructor(chat, page) {
    this.#chat = chat;
    this.#page = page;
    this.#button.onclick = () => this.#open();
    part("unnamed").onclick = () => this.#dialog.close();
    part("nameform").onsubmit = (event) => {
      event.preventDefault();
      void this.#save(this.#field.value.trim());
    };
  }

  /** Show what one is called in a room. */
  show(room) {
    const name = this.#chat.nameIn(room);
    const shown = name ? shownName({ name }) : "Choose a name";
    this.#button.firstElementChild.textContent = shown;
    this.#button.setAttribute("aria-label", name ? `Your name: ${shown}` : shown);
    this.#button.classList.toggle("unnamed", !name);
    if (name) coloured(this.#button, shown);
    this.#field.value ||= name ?? "";
  }

  #open() {
    this.#trouble.textContent = "";
    this.#dialog.showModal();
    this.#field.select();
  }

  async #save(name) {
    if (!name) return this.#dialog.close();
    const renaming = this.#page.rename(name);
    if (this.#chat.state.state !== "online") this.#dialog.close(); // it is done when the connection is back
    try {
      await renaming;
      this.#dialog.close();
      part("line").focus();
    } catch (error) {
      if (!this.#dialog.open) this.#page.refused(error);
      this.#trouble.textContent = visible(error.reason ?? error.message);
    }
  }
}
