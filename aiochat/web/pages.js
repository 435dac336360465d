// Pages of what was said in a room, from its history: one at a time, and none for a while after one that could not be had.

import { messageItem } from "./room.js";

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
