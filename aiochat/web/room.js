// One room as the page keeps it: its newest items and what is on its way. State only; timeline.js shows it.

const KEPT = 400; // items, or up to twice as many; older ones come from the history again
let numbers = 0;

export class Room {
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
export function noticeItem(parts, tone = "") {
  return { kind: "notice", parts: [parts].flat(), tone, ts: Date.now() };
}

/** What is left of a message that was taken back. */
export function erased({ type, room, offset, ts }) {
  return { type, room, offset, ts, erased: true };
}
