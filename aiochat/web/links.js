// Addresses in a text become links that say where they lead. Only http and https; the text stays what was typed.

import { make } from "./dom.js";

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
