// What the page tells besides the messages: the connection's state, who types and comes, and what is read out.

import { button, counted, make, part, sentence, setText } from "./elements.js";
import { personOf, shownName } from "./people.js";

// The connection's state as a person understands it: one line, a button while it waits, and a banner for what ends it.

const BACK_MS = 5000; // for which it says that all was caught up with
const TICK_MS = 250;
const LEFT = 1000;
const ADVICE = {
  1009: "What was sent is longer than the server takes.",
  4003: "Sign in again, then come back.",
  4400: "The page and the server do not understand each other. Reload the page.",
  4401: "Sign in, then come back.",
  4403: "You may not chat here. Ask those who run it.",
  4409: "It goes on in another window. Close that one, or come back here.",
  4410: "You were shown the door. Be kind, if you come back.",
  4429: "Too much was sent in a short time. Wait a moment before you come back.",
};

export class StateLine {
  #line = part("state");
  #lost = make("span", { className: "lost" });
  #text = make("span");
  #seconds = make("span", { aria: { hidden: true } }); // changes all the time, and is not read out
  #now = part("now");
  #banner = part("banner");
  #timer = 0;

  /** `reconnect` is called by the button. */
  constructor(reconnect) {
    this.#now.onclick = reconnect;
    this.#line.replaceChildren(this.#lost, this.#text, this.#seconds);
  }

  /** Show the state; it says so itself when time goes on. */
  show(state) {
    clearInterval(this.#timer);
    this.#line.dataset.state = state.state;
    if (document.activeElement === this.#now && state.state !== "waiting") part("line").focus();
    this.#now.hidden = state.state !== "waiting";
    SHOWN[state.state](this, state);
  }

  say(text, { lost = "", seconds = "" } = {}) {
    setText(this.#lost, lost);
    setText(this.#text, text);
    setText(this.#seconds, seconds);
  }

  countDown(retryAt) {
    const tell = () => {
      const seconds = Math.round((retryAt - Date.now()) / 1000);
      const lost = navigator.onLine === false ? "this device is offline, " : "connection lost, ";
      this.say("reconnecting", { lost, seconds: seconds >= 1 ? ` in ${seconds} s` : " …" });
    };
    tell();
    this.#timer = setInterval(tell, TICK_MS);
  }

  later(text) {
    this.#timer = setInterval(() => this.say(text), BACK_MS);
  }

  /** What stands above the message field until it is settled: `text`, and a button. Without a text it goes away. */
  alert(text, action, onclick) {
    if (this.#banner.contains(document.activeElement)) part("line").focus();
    this.#banner.hidden = !text;
    this.#banner.replaceChildren(make("span", {}, text), button(action, onclick, { className: "quiet" }));
  }

  /** The server has ended the chat for good. */
  refused({ code, reason }) {
    const what = sentence(reason || `the server has ended the chat (${code})`);
    this.alert(`${what} ${ADVICE[code] ?? ""}`.trim(), "Come back", () => location.reload());
  }
}

const SHOWN = {
  connecting: (line, { attempt }) => line.say(attempt > 1 ? "reconnecting …" : "connecting …"),
  catchingup: (line) => line.say("catching up …"),
  waiting: (line, { retryAt }) => line.countDown(retryAt),
  closed: (line, { code }) => line.say(code === LEFT ? "you have left" : "not connected"),
  online(line, { missed, isBack }) {
    if (!isBack) return line.say("connected");
    line.say(missed ? `caught up, ${counted(missed, "message")}` : "connected again");
    line.later("connected");
  },
};

// The quiet line above the message field: who is typing, who came and went. It takes its place whether it says
// something or not.

const TYPING_MS = 5000; // who typed is taken to go on for so long
const NEWS_MS = 4000;
const LOOK_MS = 500;
const MOST_NAMED = 3;

export class Whisper {
  #line = part("whisper");
  #typing = new Map(); // by personOf: {name, until}
  #news = [];
  #newsUntil = 0;
  #timer = 0;

  /** Another room is shown. */
  clear() {
    this.#typing.clear();
    this.#newsUntil = 0;
    this.#show();
  }

  /** Somebody types. */
  typing(senders) {
    for (const sender of senders)
      this.#typing.set(personOf(sender), { name: shownName(sender), until: Date.now() + TYPING_MS });
    this.#show();
  }

  /** Somebody has said it, and types no more. */
  said(sender) {
    if (this.#typing.delete(personOf(sender))) this.#show();
  }

  /** Say something for a while. */
  tell(...news) {
    this.#news = news;
    this.#newsUntil = Date.now() + NEWS_MS;
    this.#show();
  }

  /** Somebody came, went, or is called otherwise. */
  presence({ came = [], went = [], renamed = [] }) {
    const told = [];
    if (came.length) told.push([...named(came.map(shownName)), came.length > 1 ? " are here" : " is here"]);
    if (went.length) told.push([...named(went.map(shownName)), went.length > 1 ? " have gone" : " has gone"]);
    for (const { was, name } of renamed.slice(0, MOST_NAMED)) {
      told.push([apart(shownName({ name: was })), " is called ", apart(shownName({ name })), " now"]);
    }
    if (told.length) this.tell(...told.flatMap((parts, index) => (index ? ["; ", ...parts] : parts)));
  }

  #show() {
    const now = Date.now();
    for (const [person, { until }] of this.#typing) if (until <= now) this.#typing.delete(person);
    const names = Array.from(this.#typing.values(), ({ name }) => name);
    const typing = names.length ? [...named(names), names.length > 1 ? " are typing" : " is typing"] : [];
    const news = this.#newsUntil > now ? this.#news : [];
    this.#line.replaceChildren(...(typing.length ? typing : news));
    this.#line.classList.toggle("typing", typing.length > 0);
    clearTimeout(this.#timer);
    if (typing.length || news.length) this.#timer = setTimeout(() => this.#show(), LOOK_MS);
  }
}

/** "ann", "ann and bob", "ann, bob, carol and 4 more". */
function named(names) {
  const more = names.length - MOST_NAMED;
  const last = more > 0 ? `${more} more` : names.length > 1 ? apart(names.at(-1)) : null;
  const first = names.slice(0, more > 0 ? MOST_NAMED : last ? -1 : 1);
  const listed = first.flatMap((name, index) => (index ? [", ", apart(name)] : [apart(name)]));
  return last ? [...listed, " and ", last] : listed;
}

/** A name stays by itself, whichever way it is written. */
function apart(name) {
  return make("bdi", {}, name);
}

// What a screen reader is told of: live messages of others in the room that is shown, a few at a time, and never the
// history.

const EVERY_MS = 1000;
const MOST = 3; // more at once are only counted

let waiting = [];
let timer = 0;

/** Have it read out, when there is time for it. */
export function announce(text) {
  waiting.push(text);
  timer ||= setTimeout(tell, EVERY_MS / 4);
}

function tell() {
  const told = waiting;
  waiting = [];
  timer = told.length ? setTimeout(tell, EVERY_MS) : 0;
  if (told.length) part("announce").textContent = told.length > MOST ? `${told.length} new messages` : told.join("\n");
}
