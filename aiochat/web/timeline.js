// What was said in the room that is shown: a few hundred rows of it, at its end or wherever one scrolls to. Work is
// done once per animation frame, however much has come; rows that are far away leave the document and come back from
// the history.

import { make, part, setText, visibleName } from "./elements.js";
import { isGrouped } from "./message.js";
import { PAGE, Pages, Rows } from "./rows.js";

const MOST_ROWS = 300;
const MOST_ALONG = 120; // rows while it scrolls along: nobody looks further up, and each of them costs in each frame
const FIRST_ROWS = 30; // a screen of them; more once they are painted
const BEFORE_NEW = 20; // rows before what is new
const PER_FRAME = 50; // rows built in one frame: a few milliseconds
const FRAME_MS = 50; // at most so often something is shown, however much comes
const NEAR_END_PX = 40;
const NEAR_EDGE_PX = 800; // from there on the next page is fetched

export class Timeline {
  room = null;
  isStuck = true; // to the end of the room: it scrolls along
  #isAtEnd = true; // of the room: what comes is appended
  #newest = -1; // number of the newest item that was appended
  #isScheduled = false;
  #isRevealing = false;
  #shownAt = -FRAME_MS;
  #scroller = part("timeline");
  #top = make("p", { className: "top" });
  #waiting = make("div", { className: "waiting" });
  #rows;
  #pages;
  #page; // what of it the timeline needs

  /** `page.history` fetches a page, `page.isOwn` tells of a message whether this person said it, `page.outgoingElement`
   * and `page.emptyElement` build what those two show, and `page.moved` is told when the timeline has moved. */
  constructor(page) {
    const list = make("div", { className: "rows" });
    this.#page = page;
    this.#rows = new Rows(list, page.isOwn);
    this.#pages = new Pages(page.history, { changed: () => this.#showTop(), again: () => this.#scrolled() });
    this.#scroller.append(this.#top, list, this.#waiting);
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    list.addEventListener("click", () => this.#scrolled()); // a long message may have been unfolded
    const stay = new ResizeObserver(() => this.isStuck && this.#scrollToEnd());
    for (const element of [this.#scroller, list]) stay.observe(element); // rows get their real height when they are seen
  }

  /** Show a room: where it has something new, from there on, else its end. */
  show(room) {
    this.room = room;
    const index = room.unread ? room.items.findIndex(({ startsNew }) => startsNew) : -1;
    this.#build(index < 0 ? FIRST_ROWS : Math.min(room.items.length - index + BEFORE_NEW, MOST_ROWS));
    const start = room.unread ? this.#rows.startOfNew : undefined;
    this.isStuck = !start;
    this.#frame();
    if (start) this.#scrollTo(start.leads.at(-1), this.#scroller.clientHeight / 4);
  }

  /** Show the newest. */
  toEnd() {
    this.#build();
    this.#frame();
  }

  #build(count = FIRST_ROWS) {
    const { items } = this.room;
    this.#rows.clear();
    this.#waiting.replaceChildren();
    this.#rows.append(items.slice(-count));
    this.#newest = items.at(-1)?.seq ?? -1;
    this.#isAtEnd = this.isStuck = true;
    requestAnimationFrame(() => setTimeout(() => void this.#fill())); // painted: what is above it can follow
  }

  /** Something has changed in the room: show it with the next frame. */
  changed() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    const show = () => {
      this.#isScheduled = false;
      this.#frame();
    };
    const wait = this.#shownAt + FRAME_MS - performance.now();
    if (wait <= 0) requestAnimationFrame(show);
    else setTimeout(() => requestAnimationFrame(show), wait);
  }

  erase(epoch, target) {
    this.#rows.erase(epoch, target);
  }

  clearNew() {
    this.#rows.clearNew();
  }

  /** Bring the `count`th last message into view. */
  async reveal(count) {
    this.toEnd();
    this.#isRevealing = true;
    while (this.#rows.logged.length < count && this.#rows.count < MOST_ROWS) if (!(await this.#older())) break;
    this.#isRevealing = false;
    const { logged } = this.#rows;
    const row = logged.at(-count) ?? logged[0];
    if (row) this.#scrollTo(row.element, 0);
  }

  #frame() {
    this.#shownAt = performance.now();
    if (this.#isAtEnd) this.#takeNew();
    this.#showOutgoing();
    this.#showTop();
    if (this.isStuck) this.#scrollToEnd();
    this.#page.moved();
  }

  #takeNew() {
    if (this.isStuck && !this.#isRevealing && this.#rows.count > MOST_ALONG) {
      this.#rows.dropFirst(this.#rows.count - MOST_ALONG / 2); // in a frame of its own: nothing moves on the screen
      return this.changed();
    }
    const items = this.room.after(this.#newest, PER_FRAME);
    if (items === null) return this.toEnd(); // more has come than is kept
    if (!items.length) return;
    this.#newest = items.at(-1).seq;
    this.#rows.append(items);
    const isFull = this.#rows.count > MOST_ROWS;
    if (items.length === PER_FRAME || isFull) this.changed();
    if (isFull && !this.isStuck) this.#isAtEnd = false; // somebody reads further up: the rest comes on the way down
  }

  #showOutgoing() {
    const shown = new Map(Array.from(this.#waiting.children, (element) => [element.dataset.key, element]));
    let before = this.#rows.last?.item;
    for (const [key, sent] of this.#isAtEnd ? this.room.outgoing : []) {
      const element = this.#page.outgoingElement(sent, shown.get(key));
      element.classList.toggle("grouped", isGrouped(before, sent.item));
      if (!shown.delete(key)) this.#waiting.append(element);
      before = sent.item;
    }
    for (const element of shown.values()) element.remove();
  }

  #showTop() {
    const { room } = this;
    const isEmpty = room.isIn && !this.#rows.count && !room.outgoing.size;
    const isBeginning = room.isIn && this.#rows.count > 0 && this.#isAtTop();
    const text = this.#pages.isFetching
      ? "loading older messages …"
      : isBeginning
        ? `This is the beginning of ${visibleName(room.name)}.`
        : "";
    setText(this.#top, text);
    const shown = this.#waiting.nextElementSibling; // that it is empty
    if (isEmpty && shown?.dataset.room !== room.name) this.#scroller.append(this.#page.emptyElement(room));
    if (shown && (!isEmpty || shown.dataset.room !== room.name)) shown.remove();
  }

  #isAtTop() {
    const first = this.#rows.firstLogged;
    return !first || first.item.epoch !== this.room.epoch || first.item.message.offset <= this.room.begins;
  }

  #scrolled() {
    this.#measure();
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    if (scrollTop < NEAR_EDGE_PX) void this.#older();
    if (scrollHeight - scrollTop - clientHeight < NEAR_EDGE_PX && !this.#isAtEnd) void this.#newer();
    this.#page.moved();
  }

  /** Have enough above the end for any screen, and to scroll into. */
  async #fill() {
    while (this.isStuck && this.#scroller.scrollTop < NEAR_EDGE_PX) if (!(await this.#older())) break;
  }

  #measure() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.isStuck = this.#isAtEnd && scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  }

  /** Put one more page before the rows. Resolves with whether there was one. */
  async #older() {
    const { first } = this.#rows;
    if (!first) return false;
    const kept = first.item.seq === undefined ? [] : this.room.before(first.item.seq, FIRST_ROWS);
    const items = kept.length ? kept : await this.#fetch("before", this.#rows.firstLogged);
    if (!items?.length || first !== this.#rows.first) return false;
    const wasStuck = this.isStuck;
    this.#keeping(first.element, () => {
      this.#rows.prepend(items);
      if (this.#rows.count > MOST_ROWS) this.#dropLast();
    });
    if (wasStuck && this.#isAtEnd) this.#scrollToEnd();
    else this.#measure();
    this.#showTop();
    return true;
  }

  #dropLast() {
    this.#rows.dropLast(this.#rows.count - MOST_ROWS);
    this.#isAtEnd = false;
    this.#showOutgoing();
  }

  /** Put one more page after the rows, until they are at the end again. */
  async #newer() {
    const { last } = this.#rows;
    if (!last) return;
    const { epoch, message } = last.item;
    const seq = last.item.seq ?? this.room.seqAt(epoch, message.offset);
    const kept = seq === null ? null : this.room.after(seq, PAGE);
    const items = kept ?? (await this.#fetch("after", this.#rows.logged.at(-1)));
    if (!items || last !== this.#rows.last) return;
    this.#keeping(last.element, () => {
      this.#rows.append(items);
      if (this.#rows.count > MOST_ROWS) this.#rows.dropFirst(this.#rows.count - MOST_ROWS);
    });
    if (items.length === PAGE || (!kept && items.length)) return;
    if (!kept) return this.toEnd(); // nothing follows in the log but what is kept
    this.#isAtEnd = true;
    this.#newest = items.at(-1)?.seq ?? seq;
    this.#measure();
    this.changed();
  }

  /** The items `before` or `after` a row of the log; null if there are none to be had. */
  async #fetch(direction, row) {
    const { room } = this;
    if (!row || (direction === "before" && this.#isAtTop())) return null;
    const items = await this.#pages.fetch(room, direction, row.item);
    return room === this.room ? items : null;
  }

  /** Change the rows so that `element` stays where it is on the screen. */
  #keeping(element, change) {
    const before = topOf(element);
    change();
    this.#scroller.scrollTop += topOf(element) - before;
  }

  /** Scroll until `element` is so far below the upper edge. */
  #scrollTo(element, belowPx) {
    this.#scroller.scrollTop += topOf(element) - topOf(this.#scroller) - belowPx;
    this.#scrolled();
  }

  #scrollToEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }
}

function topOf(element) {
  return element.getBoundingClientRect().top;
}
