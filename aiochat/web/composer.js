// The field to write in, and what it suggests.

import { make, part, visibleName } from "./elements.js";

// The field in which one writes: Enter sends, Shift+Enter breaks the line, `/` offers what can be completed.

const TYPING_MS = 2500; // at most so often the room is told

export class Composer {
  #field = part("line");
  #completion;
  #send;
  #typing;
  #toldAt = 0;

  /** `send` takes the line; `typing` tells the room; `complete` gives what fits a line. */
  constructor({ send, typing, complete }) {
    this.#send = send;
    this.#typing = typing;
    this.#completion = new Completion(this.#field, complete, () => this.#changed());
    this.#field.oninput = () => this.#changed();
    this.#field.onkeydown = (event) => this.#key(event);
    part("composer").onsubmit = (event) => {
      event.preventDefault();
      this.#submit();
    };
  }

  get text() {
    return this.#field.value;
  }

  set text(text) {
    this.#field.value = text;
    this.#completion.close();
    this.#fit();
  }

  /** Begin to write, unless that would bring up a keyboard nobody asked for. */
  focus() {
    if (matchMedia("(hover: hover)").matches) this.#field.focus();
  }

  #key(event) {
    if (event.isComposing || this.#completion.key(event)) return;
    if (event.key !== "Enter" || event.shiftKey || event.altKey) return;
    event.preventDefault();
    this.#submit();
  }

  #submit() {
    const line = this.#field.value.trim();
    this.#field.focus();
    if (!line) return;
    this.text = "";
    this.#toldAt = 0;
    this.#send(line);
  }

  #changed() {
    const { value } = this.#field;
    this.#fit();
    this.#completion.offer(value);
    const isSaid = value.trim() && !value.startsWith("/");
    if (!isSaid || Date.now() - this.#toldAt < TYPING_MS) return;
    this.#toldAt = Date.now();
    this.#typing();
  }

  /** As high as its text, where the style cannot do that. */
  #fit() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }
}

// The list of what a line can be completed to. The focus stays in the field; the list is told by aria-activedescendant.

class Completion {
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
