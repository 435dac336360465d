// The people in the room that is shown: asked for when one comes to it, and kept up with who comes and goes.

import { make, part } from "./dom.js";
import { avatarElement, nameElement, shownName } from "./names.js";

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
    if (this.#known.size < Math.min(members, MOST_SHOWN) && Date.now() - this.#askedAt > ASK_AGAIN_MS)
      void this.show(this.#room);
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
