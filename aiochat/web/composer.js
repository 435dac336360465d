// The field in which one writes: Enter sends, Shift+Enter breaks the line, `/` offers what can be completed.

import { Completion } from "./completion.js";
import { part } from "./dom.js";

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
