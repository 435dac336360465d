// What the page is made of: elements, and what people type, made safe to look at in them.

// Elements of the page. What people type comes in as strings, and a string only ever becomes a text node.

/** The page's own element of that name. Ids begin with `_`, as no room does: a room's address points at none of them.
 * */
export function part(name) {
  return document.getElementById(`_${name}`);
}

/** A new element; `data` is for its data-, `aria` for its aria- attributes. */
export function make(tag, { data, aria, role, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  if (role) element.setAttribute("role", role);
  for (const [name, value] of Object.entries(aria ?? {})) element.setAttribute(`aria-${name}`, value);
  Object.assign(element.dataset, data);
  element.append(...children);
  return element;
}

/** Give an element another text; the same one again would be read out again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A button that does one thing. */
export function button(text, onclick, properties = {}) {
  return make("button", { type: "button", onclick, ...properties }, text);
}

/** "1 message", "12 messages". */
export function counted(count, what) {
  return `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;
}

// What people type, made safe to look at: nothing invisible, nothing that turns the line around, nothing endless.

const PLAIN = /^[\x20-\x7e]*$/; // most lines; they need no second look
const BLANK_LINES = /\n{3,}/g;
const BREAK = /\r\n?|[\u0085\u2028\u2029]/g;
const TURNING = /[\u202a-\u202e\u2066-\u2069]/g; // embeddings, overrides and isolates
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f\ufff9-\ufffb]/g;
// A joiner is part of a letter or an emoji between two of them, and nothing anywhere else.
const JOINED = /(?<=[\p{L}\p{M}\p{Emoji}])[\u200c\u200d](?=[\p{L}\p{M}\p{Emoji}])/gu;
const HIDDEN = /(?![\ufe0e\ufe0f\u200c\u200d])[\p{Cf}\p{Default_Ignorable_Code_Point}]/gu;
const JOINER = /[\u200c\u200d]/g;
const MARKS = /(\p{M}{6})\p{M}+/gu; // no script needs so many on one letter
const BLANK = /^[\s\u2800]*$/;
const REPLACEMENT = "\ufffd";
const LONG_CHARACTERS = 3000;
const LONG_LINES = 30;
const FOLDED_CHARACTERS = 1200;
const FOLDED_LINES = 12;

/** The text as it may be shown: what turns a line around or drives a terminal is a visible �, what is invisible is
 * gone. */
export function visible(text) {
  if (PLAIN.test(text)) return text;
  const kept = text.replace(BREAK, "\n").replace(TURNING, REPLACEMENT).replace(CONTROL, REPLACEMENT);
  const joiners = new Set(Array.from(kept.matchAll(JOINED), ({ index }) => index));
  const joined = kept.replace(JOINER, (joiner, index) => (joiners.has(index) ? joiner : ""));
  return joined.replace(HIDDEN, "").replace(MARKS, "$1");
}

/** A text as it may be shown, and something to see even where there is nothing. */
export function visibleText(text) {
  const shown = visible(text);
  return BLANK.test(shown) ? REPLACEMENT : shown;
}

/** A name or a room as it may be shown: in one line, with nothing that has no width, and never blank. */
export function visibleName(name) {
  const shown = visible(name).replace(JOINER, "").replace(/\s+/g, " ").trim();
  return BLANK.test(shown) ? REPLACEMENT : shown;
}

/** What the server gives as a reason, as a sentence. */
export function sentence(reason) {
  const text = visible(reason.charAt(0).toUpperCase() + reason.slice(1));
  return /[\p{L}\p{N})]$/u.test(text) ? `${text}.` : text;
}

/** The beginning of a text that is too long to be shown as it is; null for one that is not. */
export function folded(text) {
  if (text.length <= LONG_CHARACTERS && countLines(text) <= LONG_LINES) return null;
  const beginning = text.slice(0, FOLDED_CHARACTERS).replace(BLANK_LINES, "\n\n");
  const lines = beginning.split("\n", FOLDED_LINES).join("\n");
  return lines.replace(/[\ud800-\udbff]$/, "") + "…";
}

function countLines(text) {
  let count = 1;
  for (let at = text.indexOf("\n"); at >= 0 && count <= LONG_LINES; at = text.indexOf("\n", at + 1)) count += 1;
  return count;
}

// Addresses in a text become links that say where they lead. Only http and https; the text stays what was typed.

const ADDRESS = /\bhttps?:\/\/[^\s<>"'`\p{C}\ufffd]+/giu;
const TRAILING = /[.,;:!?…*_~'’”»]+$/;
const PAIRS = { ")": "(", "]": "[", "}": "{" };
const MOST_LINKS = 50; // in one message; the rest stays text

/** The text as nodes and strings, for `append`. */
export function linked(text) {
  const pieces = [];
  let from = 0;
  for (const found of text.matchAll(ADDRESS)) {
    if (pieces.length > 2 * MOST_LINKS) break;
    const address = trimmed(found[0]);
    const link = linkTo(address);
    if (!link) continue;
    pieces.push(text.slice(from, found.index), link);
    from = found.index + address.length;
  }
  pieces.push(text.slice(from));
  return pieces;
}

/** Without the punctuation of the sentence around it; a bracket that was opened within stays. */
function trimmed(address) {
  for (;;) {
    const shorter = address.replace(TRAILING, "");
    const closing = shorter.at(-1);
    const isOpened = !(closing in PAIRS) || count(shorter, PAIRS[closing]) >= count(shorter, closing);
    if (isOpened) return shorter;
    address = shorter.slice(0, -1);
  }
}

function count(text, character) {
  return text.split(character).length - 1;
}

function linkTo(address) {
  if (!URL.canParse(address)) return null;
  const { href, host, protocol } = new URL(address);
  if (protocol !== "http:" && protocol !== "https:") return null;
  const link = make("a", { href, target: "_blank", rel: "noopener noreferrer", title: href }, address);
  // Letters of other scripts, and a user before an @, look like another host: the real one is shown beside them.
  const typed = /^https?:\/\/([^/?#\\]*)/i.exec(address)[1].toLowerCase();
  const isHonest = typed === host || typed.replace(/:\d*$/, "") === host;
  if (!isHonest) link.append(make("small", { className: "host" }, ` (${host})`));
  return link;
}

// Times and days as people say them, in their own language and time zone.

const clock = formatter({ hour: "numeric", minute: "2-digit" });
const whole = formatter({ dateStyle: "full", timeStyle: "medium" });
const date = formatter({ weekday: "long", day: "numeric", month: "long", year: "numeric" });
const LATEST = 8.64e15; // the last moment that a Date knows

/** "12:04" */
export function clockTime(ts) {
  return clock(ts);
}

/** The moment in full, for a title. */
export function wholeTime(ts) {
  return whole(ts);
}

/** The moment for a machine. */
export function machineTime(ts) {
  return moment(ts).toISOString();
}

/** The same for two moments of one day. */
export function dayOf(ts) {
  return moment(ts).toDateString();
}

/** "Today", "Yesterday", or the date. */
export function dayName(ts, now = Date.now()) {
  const day = dayOf(ts);
  if (day === dayOf(now)) return "Today";
  const yesterday = new Date(now);
  yesterday.setDate(yesterday.getDate() - 1);
  return day === yesterday.toDateString() ? "Yesterday" : date(ts);
}

/** Made when it is first needed, and once: that takes a browser milliseconds. */
function formatter(options) {
  let made;
  return (ts) => (made ??= new Intl.DateTimeFormat(undefined, options)).format(moment(ts));
}

function moment(ts) {
  return new Date(Math.min(Math.max(ts, 0), LATEST));
}
