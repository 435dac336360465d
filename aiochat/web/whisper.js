// The quiet line above the message field: who is typing, who came and went. It takes its place whether it says
// something or not.

import { make, part } from "./dom.js";
import { personOf, shownName } from "./names.js";

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
