// What a person can do in the room that is shown: by a line, a command or a button.

import { announce } from "./announce.js";
import { perform } from "./commands.js";
import { button, make } from "./dom.js";
import { sentence, visible, visibleName } from "./safe.js";

export class Talk {
  chat;
  #parts;

  /** `parts` are the page's: me, places, sending, timeline, composer, whisper; `parts.renamed` is called when the name
   * is another. */
  constructor(chat, parts) {
    this.chat = chat;
    this.#parts = parts;
  }

  get room() {
    return this.#parts.places.current.name;
  }

  /** Do what a line asks for. */
  async enter(line) {
    const { places, composer } = this.#parts;
    const room = places.current;
    try {
      await perform(line, this);
    } catch (error) {
      places.notice(room, sentence(error.reason ?? error.message), "error");
      if (error instanceof RangeError) composer.text ||= line;
    }
  }

  say(text, data) {
    const { places, timeline, sending } = this.#parts;
    places.current.clearNew();
    timeline.clearNew();
    if (!timeline.isStuck) timeline.toEnd();
    sending.send(places.current, text, data);
  }

  async direct(name, text) {
    const { places } = this.#parts;
    const room = places.current;
    const { name: whom } = await this.chat.direct({ name, room: room.name }, text);
    const sender = { client: this.chat.client, name: this.chat.nameIn(room.name) };
    room.add({
      kind: "message",
      message: { sender, ts: Date.now(), text },
      direct: `to ${visibleName(whom ?? name)} alone`,
      ts: Date.now(),
    });
    this.#parts.timeline.changed();
  }

  async rename(name) {
    const { me, places, renamed } = this.#parts;
    const answers = await this.chat.rename(name, this.chat.joined);
    me.name = name;
    renamed();
    const given = answers.find(({ room }) => room === this.room)?.name;
    if (given) places.notice(places.current, ["You are called ", { name: given }, " now."]);
  }

  go(room) {
    this.#parts.places.go(room);
  }

  leave() {
    return this.#parts.places.leave(this.room);
  }

  notice(parts) {
    this.#parts.places.notice(this.#parts.places.current, parts);
  }

  history(count) {
    return this.#parts.timeline.reveal(count);
  }

  quit() {
    this.chat.close();
    this.#parts.stateLine.alert("You have left the chat.", "Come back", () => location.reload());
  }

  /** Put the room's address where it can be pasted from. */
  async share() {
    const url = new URL(location.href);
    url.hash = encodeURIComponent(this.room);
    try {
      await navigator.clipboard.writeText(url.href);
      this.#parts.whisper.tell("address copied");
      announce("address copied");
    } catch {
      this.notice(`The address of this room: ${url.href}`); // there is no clipboard without https
    }
  }

  /** What stands in a room in which nothing was said yet. */
  emptyElement({ name }) {
    const room = () => make("bdi", {}, visibleName(name));
    const address = make("code", {}, visible(location.href.split("#")[0]), "#", room());
    return make(
      "div",
      { className: "empty", data: { room: name } },
      make("p", { className: "lead" }, "Nothing has been said in ", room(), " yet."),
      make("p", {}, "Say something. Or open this address in a second window, or send it to somebody, and talk:"),
      make(
        "p",
        { className: "address" },
        address,
        button("Copy", () => this.share(), { className: "quiet" }),
      ),
    );
  }
}
