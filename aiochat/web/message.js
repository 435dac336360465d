// Messages as elements: those in the log, and own ones on their way to it.

import {
  button,
  clockTime,
  dayName,
  dayOf,
  folded,
  linked,
  machineTime,
  make,
  part,
  visible,
  visibleName,
  visibleText,
  wholeTime,
} from "./elements.js";
import { avatarElement, isServer, nameElement, personOf, shownName } from "./people.js";

// One item of the timeline as an element: a message, or what the page itself has to say. No message can look like the
// latter.

const GROUP_MS = 5 * 60_000; // a person's messages stand together when they are not further apart

/** The element of an item; `isOwn` whether this person said it. */
export function elementOf(item, isOwn = false) {
  if (item.kind === "notice") return noticeElement(item);
  return item.message.erased ? erasedElement(item.message) : messageElement(item, isOwn);
}

/** What stands before an item: the day, where it changes, and where that begins which is new. */
export function leadsOf(before, item) {
  const leads = [];
  if (!before || dayOf(before.ts) !== dayOf(item.ts)) leads.push(dayElement(item.ts));
  if (item.startsNew) leads.push(separator("new", "New since you were away"));
  return leads;
}

/** Say it anew what day it is: what was today may be yesterday. */
export function renameDay(element) {
  const name = dayName(Number(element.dataset.ts));
  element.setAttribute("aria-label", name);
  element.firstElementChild.textContent = name;
}

/** Whether a message goes on with what the one before it began. */
export function isGrouped(before, item) {
  if (before?.kind !== "message" || item.kind !== "message" || item.startsNew) return false;
  if (standsAlone(before) || standsAlone(item)) return false;
  if (item.ts - before.ts > GROUP_MS || dayOf(before.ts) !== dayOf(item.ts)) return false;
  return personOf(before.message.sender) === personOf(item.message.sender);
}

function standsAlone({ message, direct }) {
  return Boolean(direct || message.erased || isAction(message));
}

/** What a message says, for those who do not see it. */
export function spoken(message) {
  const text = visible(contentOf(message)).slice(0, 300);
  return isAction(message) ? `${shownName(message.sender)} ${text}` : `${shownName(message.sender)}: ${text}`;
}

/** The same for what the page itself has to say. */
export function spokenNotice({ parts }) {
  return visible(parts.map((part) => part.name ?? part.room ?? part).join(""));
}

function messageElement({ message, direct }, isOwn) {
  const { sender, ts, offset, key } = message;
  const name = shownName(sender);
  const element = make(
    "article",
    { className: "message", aria: { label: `${direct ?? name}, ${clockTime(ts)}` } },
    avatarElement(name, isServer(sender) ? "◆" : undefined),
    make(
      "p",
      { className: "by" },
      nameElement(sender),
      direct ? make("span", { className: "to" }, direct) : "",
      timeElement(ts),
    ),
    contentElement(message),
  );
  const classes = { own: isOwn, direct: Boolean(direct), action: isAction(message), server: isServer(sender) };
  for (const [name, isSo] of Object.entries(classes)) element.classList.toggle(name, isSo);
  if (offset !== undefined) element.dataset.offset = offset;
  if (isOwn && key !== undefined) element.dataset.key = key;
  return element;
}

function contentElement(message) {
  const isData = !message.text && message.data != null;
  const text = visibleText(contentOf(message));
  const content = make(isData ? "pre" : "p", { className: "text", dir: "auto" });
  const short = folded(text);
  const show = (shown) => content.replaceChildren(...(isData ? [shown] : linked(shown)));
  show(short ?? text);
  if (short === null) return content;
  return make("div", { className: "long" }, content, foldButton(text, short, show));
}

function foldButton(text, short, show) {
  const more = `Show all ${text.length.toLocaleString("en")} characters`;
  const toggle = button(
    more,
    () => {
      const isOpen = toggle.getAttribute("aria-expanded") !== "true";
      toggle.setAttribute("aria-expanded", isOpen);
      toggle.textContent = isOpen ? "Show less" : more;
      show(isOpen ? text : short);
    },
    { className: "quiet", aria: { expanded: false } },
  );
  return toggle;
}

function erasedElement({ ts, offset }) {
  return make(
    "article",
    { className: "message erased", data: { offset }, aria: { label: `erased, ${clockTime(ts)}` } },
    make("p", { className: "by" }, timeElement(ts)),
    make("p", { className: "text" }, "This message was erased."),
  );
}

function noticeElement({ parts, tone }) {
  const isLong = parts.some((part) => part.includes?.("\n"));
  const words = make("span", { className: isLong ? "lines" : "" }, ...parts.map(noticePart));
  return make("div", { className: `notice ${tone}` }, words);
}

function noticePart(part) {
  if (typeof part === "string") return visible(part);
  if (part.name !== undefined) return make("bdi", {}, visibleName(part.name));
  return make("a", { href: `#${encodeURIComponent(part.room)}` }, make("bdi", {}, visibleName(part.room)));
}

function timeElement(ts) {
  return make("time", { dateTime: machineTime(ts), onpointerenter: nameMoment }, clockTime(ts));
}

/** The title of a time is made when somebody points at it. */
function nameMoment({ target }) {
  target.title = wholeTime(Date.parse(target.dateTime));
}

function dayElement(ts) {
  const element = separator("day", dayName(ts));
  element.dataset.ts = ts;
  return element;
}

function separator(kind, text) {
  return make("div", { className: kind, role: "separator", aria: { label: text } }, make("span", {}, text));
}

function contentOf({ text, data }) {
  return text || (data == null ? "" : JSON.stringify(data));
}

function isAction({ text, data }) {
  return Boolean(text) && data?.action === true;
}

// Own messages on their way: shown at once, marked once they are in the log, and sent again under the same key if they
// are not.

const DOUBTFUL = new Set(["interrupted", "unavailable"]); // it may be there all the same
const HOPELESS = new Set(["too_long", "bad_message", "key_reused"]); // refused again, however often it is tried

export class Sending {
  #chat;
  #changed;
  #edit;

  /** `changed` is told of the room in which something happened to an own message; `edit` gets a text to be written
   * anew. */
  constructor(chat, changed, edit) {
    this.#chat = chat;
    this.#changed = changed;
    this.#edit = edit;
  }

  /** Say it in a room. */
  send(room, text, data) {
    const message = {
      text,
      data,
      ts: Date.now(),
      sender: { client: this.#chat.client, name: this.#chat.nameIn(room.name) },
    };
    this.#publish(room, { item: { kind: "message", message, ts: message.ts } });
  }

  /** The element of one that is not in the log yet: the one that it has, brought up to date, or a new one. */
  element(sent, known) {
    const element = known ?? elementOf(sent.item, true);
    if (element.dataset.state === sent.state) return element;
    Object.assign(element.dataset, { key: sent.key, state: sent.state });
    element.querySelector(".fate")?.remove();
    if (sent.state === "failed") element.append(this.#failure(sent));
    return element;
  }

  #publish(room, sent) {
    const { text, data } = sent.item.message;
    const sending = this.#chat.publish(room.name, text, { data, ...(sent.key && { key: sent.key }) });
    Object.assign(sent, { key: sending.key, state: "sending", room });
    sent.item.message.key = sending.key;
    room.outgoing.set(sending.key, sent);
    this.#changed(room);
    sending.then(
      () => this.#settle(sent, "sent"),
      (error) => this.#settle(sent, "failed", error),
    );
  }

  #settle(sent, state, error) {
    Object.assign(sent, { state, error });
    this.#changed(sent.room);
  }

  #failure(sent) {
    const sure = DOUBTFUL.has(sent.error.code) ? "perhaps not sent" : "not sent";
    const reason = make("span", { role: "alert" }, `${sure}: ${visible(sent.error.reason ?? sent.error.message)}`);
    const [word, act] = HOPELESS.has(sent.error.code)
      ? ["Edit", () => this.#rewrite(sent)]
      : ["Retry", () => this.#again(sent)];
    const buttons = [
      button(word, act, { className: "quiet" }),
      button("Discard", () => this.#discard(sent), { className: "quiet" }),
    ];
    return make("p", { className: "fate" }, reason, ...buttons);
  }

  #again(sent) {
    part("line").focus(); // the button goes away
    this.#publish(sent.room, sent);
  }

  #rewrite(sent) {
    this.#discard(sent);
    this.#edit(sent.item.message.text);
  }

  #discard(sent) {
    part("line").focus();
    sent.room.outgoing.delete(sent.key);
    this.#changed(sent.room);
  }
}
