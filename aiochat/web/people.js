// Who is in the room: how somebody is called and coloured wherever it stands, and the list of those who are here.

import { make, part, visibleName } from "./elements.js";

// Who somebody is on the page: the name that is shown, and a colour that stays the same wherever it stands.

const HUES = 24; // more would not be told apart; page.css has the lightness that makes each of them readable
const PLAIN = /^[\x20-\x7e]{2}/; // no letter of these goes on with the next one

/** What a sender is called. One without a client or a name is the application that the chat is part of. */
export function shownName(sender) {
  const { name, client, user } = sender ?? {};
  return visibleName(name ?? (client ? `guest-${client}` : (user ?? "the server")));
}

/** The same for two messages of one person: a user is one with any client, and so is a name without one. */
export function personOf(sender) {
  const { name, client, user } = sender ?? {};
  return user ? `user ${user}` : `${client ?? ""} ${name ?? ""}`;
}

/** Whether nobody in particular says it, but the application. */
export function isServer(sender) {
  return !(sender?.client ?? sender?.name ?? sender?.user);
}

/** A name in its colour, cut by the style where it is too long; the whole is in its title. */
export function nameElement(sender) {
  const shown = shownName(sender);
  const title = !sender?.user ? shown : `${shown} (verified: ${visibleName(sender.user)})`;
  return coloured(make("bdi", { className: "name", title }, shown), shown);
}

/** The round beside a message or a name. */
export function avatarElement(name, text = initialOf(name)) {
  return coloured(make("span", { className: "avatar", aria: { hidden: true } }, text), name);
}

/** Give an element the colour of a name. */
export function coloured(element, name) {
  element.style.setProperty("--hue", hueOf(name));
  return element;
}

function initialOf(name) {
  return firstOf(name).toLocaleUpperCase();
}

function firstOf(name) {
  if (PLAIN.test(name) || !globalThis.Intl?.Segmenter) return String.fromCodePoint(name.codePointAt(0));
  return new Intl.Segmenter().segment(name.slice(0, 20)).containing(0).segment;
}

function hueOf(name) {
  let hash = 2166136261; // FNV-1a
  for (const letter of name.normalize("NFKC").toLowerCase()) hash = Math.imul(hash ^ letter.codePointAt(0), 16777619);
  hash ^= hash >>> 15;
  return ((hash >>> 0) % HUES) * (360 / HUES);
}

// The people in the room that is shown: asked for when one comes to it, and kept up with who comes and goes.

const MOST_SHOWN = 200; // what the server tells
const ASK_AGAIN_MS = 5000;

export class People {
  #chat;
  #room = null;
  #known = new Map(); // by keyOf
  #list = part("peoplelist");
  #askedAt = 0;
  #isScheduled = false;

  constructor(chat) {
    this.#chat = chat;
  }

  get names() {
    return Array.from(this.#known.values(), ({ name }) => name).filter(Boolean);
  }

  /** Another room is shown, or one is back in it. */
  async show(room) {
    if (room !== this.#room) this.#known.clear();
    this.#room = room;
    this.#changed();
    if (!room.isIn) return;
    this.#askedAt = Date.now();
    try {
      const { members, count } = await this.#chat.who(room.name);
      if (room !== this.#room) return;
      room.members = count;
      this.#known = new Map(members.map((sender) => [keyOf(sender), sender]));
      this.#changed();
    } catch {
      // out of the room, or the connection is lost: asked again when that is over
    }
  }

  /** Who came, went and was renamed in the room that is shown. */
  presence({ members, came = [], went = [], renamed = [] }) {
    this.#room.members = members;
    for (const sender of went) this.#known.delete(keyOf(sender));
    for (const sender of [...came, ...renamed]) this.#known.set(keyOf(sender), sender);
    this.#changed();
    const isUnsaid = !(came.length + went.length + renamed.length) && members <= MOST_SHOWN;
    const isShort = this.#known.size < Math.min(members, MOST_SHOWN);
    if ((isUnsaid || isShort) && Date.now() - this.#askedAt > ASK_AGAIN_MS) void this.show(this.#room);
  }

  /** What one is called has changed. */
  changed() {
    this.#changed();
  }

  #changed() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    requestAnimationFrame(() => {
      this.#isScheduled = false;
      this.#render();
    });
  }

  #render() {
    const { members, name } = this.#room;
    const own = this.#chat.nameIn(name);
    const isMe = (sender) => sender.client === this.#chat.client;
    const people = [...this.#known.values()].map((sender) => (isMe(sender) ? { ...sender, name: own } : sender));
    people.sort((one, other) => isMe(other) - isMe(one) || shownName(one).localeCompare(shownName(other)));
    this.#list.replaceChildren(...people.map((sender) => personElement(sender, isMe(sender))));
    const more = members - people.length;
    if (more > 0 && people.length) this.#list.append(make("li", { className: "more" }, `and ${more} more`));
    for (const count of document.querySelectorAll(".members")) count.textContent = members || "";
  }
}

/** A user is one person with any number of clients. */
function keyOf({ client, user }) {
  return user ? `user ${user}` : `client ${client}`;
}

function personElement(sender, isMe) {
  const you = isMe ? [make("span", { className: "you" }, " (you)")] : [];
  return make("li", {}, avatarElement(shownName(sender)), nameElement(sender), ...you);
}
