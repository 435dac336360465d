// What is done with a line that was entered: it is said, or it is a command.

import { button, make, sentence, visible, visibleName } from "./elements.js";
import { shownName } from "./people.js";
import { announce } from "./status.js";

// What a person can do in the room that is shown: by a line, a command or a button.

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

// Lines that begin with a slash, the same as in a terminal: what they are, what completes them, and what they do.

const MOST_HISTORY = 300;
const HISTORY_LINES = 20;
const MOST_OFFERED = 8;

const COMMANDS = [
  { word: "help", does: "what one can type", run: help },
  { word: "nick", takes: "NAME", does: "be called NAME", run: (talk, name) => talk.rename(name) },
  { word: "join", takes: "ROOM", does: "go to another room", run: (talk, room) => talk.go(room.replace(/^#/, "")) },
  { word: "leave", does: "leave this room", run: (talk) => talk.leave() },
  { word: "rooms", does: "where people are", run: rooms },
  { word: "who", does: "who is here", run: who },
  { word: "msg", takes: "NAME TEXT", does: "say it to NAME alone", run: direct },
  { word: "me", takes: "ACTION", does: "say what you do", run: (talk, text) => talk.say(text, { action: true }) },
  { word: "history", takes: "[N]", does: "the last N messages", run: history },
  { word: "quit", does: "leave the chat", run: (talk) => talk.quit() },
];
const BY_WORD = new Map(COMMANDS.map((command) => [command.word, command]));

/** Do what a line asks for. `talk` is what the page can do; a line that is no good is a RangeError whose message says
 * why. */
async function perform(line, talk) {
  if (!line.startsWith("/")) return talk.say(line);
  if (line.startsWith("//")) return talk.say(line.slice(1));
  const [, word, rest] = /^\/(\S*)\s*([^]*)$/.exec(line);
  const command = BY_WORD.get(word.toLowerCase());
  if (!command)
    throw new RangeError(
      `/${word.slice(0, 32)} is not a command; /help lists them. To send it as it is, begin with //`,
    );
  const isMissing = command.takes && !command.takes.startsWith("[") && !rest;
  if (isMissing) throw new RangeError(`It is /${command.word} ${command.takes}`);
  return command.run(talk, rest.trim());
}

/** What could be typed instead of `line`: `{line, label, does}`. `rooms` and `people` are names. */
export function completions(line, { rooms, people }) {
  const [, word, argument] = /^\/(\S*)( [^]*)?$/.exec(line) ?? [];
  if (word === undefined || line.startsWith("//")) return [];
  if (argument === undefined) return wordCompletions(word.toLowerCase());
  const names = { join: rooms, msg: people }[word.toLowerCase()] ?? [];
  const begun = argument.trimStart().toLowerCase();
  const fitting = names.filter((name) => name.toLowerCase().startsWith(begun) && name.toLowerCase() !== begun);
  return fitting
    .slice(0, MOST_OFFERED)
    .map((name) => ({ line: `/${word} ${quoted(word, name)}`, label: name, does: "" }));
}

function wordCompletions(word) {
  if (BY_WORD.has(word)) return [];
  const fitting = COMMANDS.filter((command) => command.word.startsWith(word));
  return fitting.map(({ word, takes, does }) => ({
    line: `/${word}${takes ? " " : ""}`,
    label: `/${word}${takes ? ` ${takes}` : ""}`,
    does,
  }));
}

function quoted(word, name) {
  if (word.toLowerCase() !== "msg") return name;
  return `${name.includes(" ") ? `"${name}"` : name} `;
}

function help(talk) {
  const lines = COMMANDS.map(({ word, takes, does }) => `/${word}${takes ? ` ${takes}` : ""} – ${does}`);
  talk.notice([...lines, "// – a line that begins with a slash"].join("\n"));
}

async function rooms(talk) {
  const { rooms: listed, count } = await talk.chat.rooms();
  const parts = listed.flatMap(({ room, members }) => [{ room }, ` (${members})`, "\n"]);
  const more = count - listed.length;
  talk.notice([...parts.slice(0, -1), ...(more > 0 ? [`\nand ${more} more rooms`] : [])]);
}

async function who(talk) {
  const { room } = talk;
  const { members, count } = await talk.chat.who(room);
  const names = members.flatMap((sender, index) => [index ? ", " : "", { name: shownName(sender) }]);
  const more = count - members.length;
  talk.notice([`${count} in `, { room }, ": ", ...names, more > 0 ? ` and ${more} more` : ""]);
}

async function direct(talk, rest) {
  const [, quotedName, plainName, text] = /^(?:"([^"]+)"|(\S+))\s*([^]*)$/.exec(rest) ?? [];
  if (!text) throw new RangeError('It is /msg NAME TEXT, or /msg "A NAME WITH SPACES" TEXT');
  await talk.direct(quotedName ?? plainName, text);
}

function history(talk, rest) {
  const count = rest ? Number(rest) : HISTORY_LINES;
  if (!Number.isInteger(count) || count < 1 || count > MOST_HISTORY)
    throw new RangeError(`It is /history N, with N from 1 to ${MOST_HISTORY}`);
  return talk.history(count);
}
