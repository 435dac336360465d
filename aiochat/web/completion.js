// The list of what a line can be completed to. The focus stays in the field; the list is told by aria-activedescendant.

import { make, part } from "./dom.js";
import { visibleName } from "./safe.js";

export class Completion {
  #field;
  #complete;
  #taken;
  #list = part("completions");
  #offers = [];
  #active = -1;

  /** `complete` gives what fits a line; `taken` is told that the field has another line. */
  constructor(field, complete, taken) {
    this.#field = field;
    this.#complete = complete;
    this.#taken = taken;
    field.addEventListener("blur", () => this.close());
    this.#list.onpointerdown = (event) => event.preventDefault(); // the focus stays in the field
  }

  /** Show what fits the line. */
  offer(line) {
    this.#offers = this.#complete(line);
    if (!this.#offers.length) return this.close();
    this.#list.replaceChildren(...this.#offers.map((offer, index) => this.#option(offer, index)));
    this.#list.hidden = false;
    this.#activate(line.includes(" ") ? -1 : 0); // a word is one of ours; a room may well be a new one
  }

  close() {
    if (this.#list.hidden) return;
    this.#list.hidden = true;
    this.#list.replaceChildren();
    this.#offers = [];
    this.#activate(-1);
  }

  /** Whether the key was for the list. */
  key(event) {
    if (this.#list.hidden) return false;
    const key = KEYS[event.key];
    if (!key || (key === "take" && event.shiftKey)) return false;
    if (event.key === "Enter" && this.#active < 0) return false;
    event.preventDefault();
    event.stopPropagation();
    if (key === "close") this.close();
    else if (key === "take") this.#take(Math.max(this.#active, 0));
    else this.#move(key);
    return true;
  }

  #move(step) {
    const { length } = this.#offers;
    const from = this.#active < 0 && step < 0 ? 0 : this.#active; // from none, upwards, to the last
    this.#activate((from + step + length) % length);
  }

  #take(index) {
    this.#field.value = this.#offers[index].line;
    this.close();
    this.#taken();
  }

  #activate(index) {
    this.#active = index;
    for (const [at, option] of [...this.#list.children].entries()) option.setAttribute("aria-selected", at === index);
    const active = this.#list.children[index];
    active?.scrollIntoView({ block: "nearest" });
    if (active) this.#field.setAttribute("aria-activedescendant", active.id);
    else this.#field.removeAttribute("aria-activedescendant");
  }

  #option({ label, does }, index) {
    const option = make(
      "li",
      { id: `_offer${index}`, role: "option", aria: { selected: false } },
      make("bdi", {}, visibleName(label)),
      " ",
      make("span", {}, does),
    );
    option.onclick = () => this.#take(index);
    return option;
  }
}

const KEYS = { ArrowDown: 1, ArrowUp: -1, Enter: "take", Tab: "take", Escape: "close" };
