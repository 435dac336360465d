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
