// The rooms one is in, and which of them is shown: the one in the page's address, so that it can be shared and gone
// back to.

import { announce } from "./announce.js";
import { spokenNotice } from "./message.js";
import { noticeItem, Room } from "./room.js";
import { sentence } from "./safe.js";
import { rememberedRooms, rememberRooms } from "./storage.js";

const LOBBY = "lobby";

export class Places {
  rooms = new Map(); // by name
  current = null;
  #chat;
  #me;
  #page;

  /** `page.leaving` is told of the room that is not shown any more, `page.arrived` of the one that is; `page.changed`
   * of one in which there is something else to show, and `page.moved` of one that one came into, or is out of. */
  constructor(chat, me, page) {
    this.#chat = chat;
    this.#me = me;
    this.#page = page;
  }

  /** Come into the rooms of the last time, and into the one in the address. */
  begin() {
    for (const [name, readUpTo] of rememberedRooms()) this.rooms.set(name, new Room(name, readUpTo));
    const known = [...this.rooms.values()];
    this.#arrive();
    for (const room of known) void this.join(room);
    addEventListener("hashchange", () => this.#arrive());
  }

  /** Show a room, and come into it if need be. */
  go(name) {
    location.hash = encodeURIComponent(nameOf(name));
  }

  async join(room) {
    try {
      await this.#chat.join(room.name, { name: this.#me.name });
    } catch (error) {
      this.#refused(room, error);
    }
  }

  /** Leave a room; from the last one, one comes to the lobby. */
  async leave(name) {
    const others = [...this.rooms.keys()].filter((other) => other !== name);
    if (!others.length && name === LOBBY) throw new RangeError("You are in no other room.");
    this.rooms.delete(name);
    if (name === this.current.name) this.go(others.at(-1) ?? LOBBY);
    this.#page.changed(this.current);
    await this.#chat.leave(name);
  }

  /** One is not in a room, or not any more, and did not ask for it. */
  out(room, reason) {
    Object.assign(room, { isIn: false, outReason: reason });
    this.#page.moved(room);
  }

  /** Say something in a room that no person says. */
  notice(room, parts, tone) {
    const item = noticeItem(parts, tone);
    room.add(item);
    if (room === this.current) announce(spokenNotice(item));
    this.#page.changed(room);
  }

  remember() {
    rememberRooms([...this.rooms.values()].map(({ name, readUpTo }) => [name, readUpTo]));
  }

  #arrive() {
    const name = nameInAddress();
    if (this.current?.name === name) return;
    if (this.current) this.#page.leaving(this.current);
    const known = this.rooms.get(name);
    this.current = known ?? new Room(name);
    this.rooms.set(name, this.current);
    this.#page.arrived(this.current);
    if (!known) void this.join(this.current);
  }

  #refused(room, { code, reason }) {
    if (code === "bad_name" && this.#me.name) {
      this.#me.forgetName();
      this.notice(room, sentence(reason), "error");
      void this.join(room);
    } else if (code === "bad_room") {
      this.rooms.delete(room.name);
      if (room === this.current) this.#goBack();
      this.notice(this.current, sentence(reason), "error");
    } else {
      this.out(room, reason);
    }
  }

  #goBack() {
    const last = [...this.rooms.keys()].at(-1) ?? LOBBY;
    history.replaceState(null, "", `#${encodeURIComponent(last)}`);
    this.#arrive();
  }
}

function nameInAddress() {
  try {
    return nameOf(decodeURIComponent(location.hash.slice(1))) || LOBBY;
  } catch {
    return LOBBY; // not an address that this page has made
  }
}

/** The form that the server makes of it. */
function nameOf(room) {
  return room.toLowerCase().normalize("NFC");
}
