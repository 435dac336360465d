// The rows of the timeline, and the pages of history that become rows.

import { elementOf, isGrouped, leadsOf, renameDay } from "./message.js";
import { erased, messageItem } from "./rooms.js";

// The rows of the timeline that are in the document, in order; each depends on the one before it: its day, its group.

export class Rows {
  #rows = []; // {item, element, leads}
  #list;
  #isOwn;

  /** `list` is the element that holds them; `isOwn` tells of a message whether this person said it. */
  constructor(list, isOwn) {
    this.#list = list;
    this.#isOwn = isOwn;
  }

  get count() {
    return this.#rows.length;
  }

  get first() {
    return this.#rows[0];
  }

  get last() {
    return this.#rows.at(-1);
  }

  /** The rows that are in a room's log. */
  get logged() {
    return this.#rows.filter(({ item }) => item.epoch !== undefined);
  }

  /** The oldest of them. */
  get firstLogged() {
    return this.#rows.find(({ item }) => item.epoch !== undefined);
  }

  /** The row that begins what is new. */
  get startOfNew() {
    return this.#rows.find(({ item }) => item.startsNew);
  }

  append(items) {
    const from = this.#rows.length;
    this.#rows.push(...items.map((item) => this.#row(item)));
    for (let index = from; index < this.#rows.length; index++) this.#dress(index);
    const added = this.#rows.slice(from);
    if (added.some(({ leads }) => leads.length)) this.#list.querySelectorAll(".day").forEach(renameDay);
    this.#list.append(...added.flatMap(elements));
  }

  prepend(items) {
    const rows = items.map((item) => this.#row(item));
    this.#rows.unshift(...rows);
    for (let index = 0; index < rows.length; index++) this.#dress(index);
    this.#list.prepend(...rows.flatMap(elements));
    this.#dress(rows.length);
  }

  dropFirst(count) {
    for (const element of this.#rows.splice(0, count).flatMap(elements)) element.remove();
    this.#dress(0);
  }

  dropLast(count) {
    for (const element of this.#rows.splice(-count).flatMap(elements)) element.remove();
  }

  clear() {
    this.#rows = [];
    this.#list.replaceChildren();
  }

  /** Show that a message was taken back. */
  erase(epoch, target) {
    const index = this.#rows.findIndex(({ item }) => item.epoch === epoch && item.message?.offset === target);
    if (index < 0) return;
    const row = this.#rows[index];
    row.item.message = erased(row.item.message);
    const element = elementOf(row.item);
    row.element.replaceWith(element);
    row.element = element;
    this.#dress(index);
    this.#dress(index + 1);
  }

  /** Nothing is new any more. */
  clearNew() {
    for (const [index, { item, leads }] of this.#rows.entries()) {
      item.startsNew = false;
      if (leads.some(({ className }) => className === "new")) this.#dress(index);
    }
  }

  #row(item) {
    const isOwn = item.kind === "message" && this.#isOwn(item.message);
    const element = elementOf(item, isOwn);
    if (isOwn && item.message.key) element.dataset.state = "sent";
    return { item, element, leads: [] };
  }

  /** Give a row what depends on the one before it. */
  #dress(index) {
    const row = this.#rows[index];
    if (!row) return;
    const before = this.#rows[index - 1]?.item;
    for (const lead of row.leads) lead.remove();
    row.leads = leadsOf(before, row.item);
    row.element.classList.toggle("grouped", isGrouped(before, row.item));
    if (row.element.isConnected) row.element.before(...row.leads);
  }
}

function elements({ leads, element }) {
  return [...leads, element];
}

// Pages of what was said in a room, from its history: one at a time, and none for a while after one that could not be
// had.

export const PAGE = 60; // messages
const AGAIN_MS = 2000;

export class Pages {
  isFetching = false;
  #retryAt = 0;
  #history;
  #changed;
  #again;

  /** `history` asks the server; `changed` is told of the beginning and the end of it, `again` when one may ask again. */
  constructor(history, { changed, again }) {
    this.#history = history;
    this.#changed = changed;
    this.#again = again;
  }

  /** The items `before` or `after` one, oldest first; null if they cannot be had now. */
  async fetch(room, direction, { epoch, message }) {
    if (this.isFetching || Date.now() < this.#retryAt) return null;
    this.isFetching = true;
    this.#changed();
    try {
      const { said, more } = await this.#said(room, direction, epoch, message.offset);
      if (direction === "before" && !more) room.begins = said[0]?.offset ?? message.offset;
      return said.map((found) => messageItem(epoch, found));
    } catch {
      this.#retryAt = Date.now() + AGAIN_MS;
      setTimeout(this.#again, AGAIN_MS);
      return null;
    } finally {
      this.isFetching = false;
      this.#changed();
    }
  }

  /** Pages in which messages were only taken back are passed over. */
  async #said(room, direction, epoch, offset) {
    const { messages, more } = await this.#history(room.name, { [direction]: offset, epoch, limit: PAGE });
    const said = messages.filter(({ type }) => type === "message");
    const edge = messages.at(direction === "before" ? 0 : -1);
    return said.length || !more || !edge ? { said, more } : this.#said(room, direction, epoch, edge.offset);
  }
}
