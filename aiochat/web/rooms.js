// The rooms this person is in: each with its newest items, and which one is shown.

import { sentence } from "./elements.js";
import { rememberedRooms, rememberRooms } from "./me.js";
import { spokenNotice } from "./message.js";
import { announce } from "./status.js";

// The rooms one is in, and which of them is shown: the one in the page's address, so that it can be shared and gone
// back to.

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
    addEventListener("hashchange", () => (location.hash.startsWith("#token=") ? location.reload() : this.#arrive()));
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

  /** One is in a room without having asked: the access token names it. It is shown, unless the address names another. */
  given(name) {
    const room = new Room(name);
    this.rooms.set(name, room);
    if (!location.hash) {
      if (!this.current.isIn) this.rooms.delete(this.current.name);
      this.#show(name);
    }
    return room;
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
    this.#show([...this.rooms.keys()].at(-1) ?? LOBBY);
  }

  #show(name) {
    history.replaceState(null, "", `#${encodeURIComponent(name)}`);
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

// One room as the page keeps it: its newest items and what is on its way. State only; timeline.js shows it.

const KEPT = 400; // items, or up to twice as many; older ones come from the history again
let numbers = 0;

class Room {
  epoch = "";
  begins = 1; // offset of the oldest message that the server still has, as far as is known
  items = []; // oldest first; each has the number it was given as `seq`
  outgoing = new Map(); // own messages that are not in the log yet, by key
  members = 0;
  unread = 0;
  hasNew = false; // one of the items begins what is new since one was away
  isIn = false;
  outReason = ""; // why one is not in it any more
  draft = "";
  #droppedTo = -1; // number of the newest item that is not kept any more

  /** `readUpTo` is the position of the newest message that was looked at, if that is known. */
  constructor(name, readUpTo = null) {
    this.name = name;
    this.readUpTo = readUpTo;
  }

  /** Begin with what was said last. */
  enter({ epoch, members, messages }) {
    const said = messages.filter(({ type }) => type === "message");
    Object.assign(this, { epoch, members, items: [], unread: 0, isIn: true, outReason: "", hasNew: false });
    for (const message of said) {
      const isUnread = this.readUpTo?.epoch === epoch && message.offset > this.readUpTo.offset;
      this.outgoing.delete(message.key);
      if (isUnread) this.unread += 1;
      this.add(messageItem(epoch, message), isUnread);
    }
  }

  /** Take one more; what is new since one was away begins with the first that `isUnread`. */
  add(item, isUnread = false) {
    item.seq = numbers++;
    item.startsNew = isUnread && !this.hasNew;
    this.hasNew ||= isUnread;
    this.items.push(item);
    if (this.items.length <= 2 * KEPT) return;
    this.#droppedTo = this.items[KEPT - 1].seq;
    this.items.splice(0, KEPT);
  }

  /** At most `limit` items after number `seq`; null if some of them are not kept any more. */
  after(seq, limit) {
    if (seq < this.#droppedTo) return null;
    const index = this.items.findLastIndex((item) => item.seq <= seq) + 1;
    return this.items.slice(index, index + limit);
  }

  /** At most `limit` items before number `seq`, as far as they are kept. */
  before(seq, limit) {
    const index = this.items.findIndex((item) => item.seq >= seq);
    return this.items.slice(Math.max(0, index - limit), Math.max(0, index));
  }

  /** The number before that of the first kept message after `offset`; null if what follows `offset` is not kept. */
  seqAt(epoch, offset) {
    const index = this.items.findIndex((item) => item.epoch === epoch && item.message?.offset > offset);
    const isNext = index >= 0 && this.items[index].message.offset === offset + 1;
    return isNext || (index > 0 && this.items[index - 1].message) ? this.items[index].seq - 1 : null;
  }

  /** What was new is new no more. */
  clearNew() {
    if (!this.hasNew) return;
    this.hasNew = false;
    for (const item of this.items) item.startsNew = false;
  }

  /** A message was taken back. */
  erase(epoch, target) {
    const item = this.items.find((kept) => kept.epoch === epoch && kept.message?.offset === target);
    if (item) item.message = erased(item.message);
  }

  /** All was looked at. */
  read() {
    this.unread = 0;
    const newest = this.items.findLast(({ kind }) => kind === "message");
    if (newest) this.readUpTo = { epoch: newest.epoch, offset: newest.message.offset };
  }
}

export function messageItem(epoch, message) {
  return { kind: "message", epoch, message, ts: message.ts };
}

/** What the page itself has to say; `parts` are strings, `{name}` and `{room}`; `tone` is "" or "error". */
function noticeItem(parts, tone = "") {
  return { kind: "notice", parts: [parts].flat(), tone, ts: Date.now() };
}

/** What is left of a message that was taken back. */
export function erased({ type, room, offset, ts }) {
  return { type, room, offset, ts, erased: true };
}
