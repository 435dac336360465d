// Who somebody is on the page: the name that is shown, and a colour that stays the same wherever it stands.

import { make } from "./dom.js";
import { visibleName } from "./safe.js";

const HUES = 24; // more would not be told apart; page.css has the lightness that makes each of them readable
const letters = globalThis.Intl?.Segmenter ? new Intl.Segmenter() : null;

/** What a sender is called. One without a client or a name is the application that the chat is part of. */
export function shownName(sender) {
  const { name, client, user } = sender ?? {};
  return visibleName(name ?? (client ? `guest-${client}` : (user ?? "the server")));
}

/** The same for two messages of one person: a user is one with any client, and so is a name without one. */
export function personOf(sender) {
  const { name, client, user } = sender ?? {};
  return user ? `user ${user}` : `${client ?? ""} ${name ?? ""}`;
}

/** Whether nobody in particular says it, but the application. */
export function isServer(sender) {
  return !(sender?.client ?? sender?.name ?? sender?.user);
}

/** A name in its colour, cut by the style where it is too long; the whole is in its title. */
export function nameElement(sender) {
  const shown = shownName(sender);
  const title = !sender?.user ? shown : `${shown} (verified: ${visibleName(sender.user)})`;
  return coloured(make("bdi", { className: "name", title }, shown), shown);
}

/** The round beside a message or a name. */
export function avatarElement(name, text = initialOf(name)) {
  return coloured(make("span", { className: "avatar", aria: { hidden: true } }, text), name);
}

/** Give an element the colour of a name. */
export function coloured(element, name) {
  element.style.setProperty("--hue", hueOf(name));
  return element;
}

function initialOf(name) {
  const [first] = letters ? Array.from(letters.segment(name.slice(0, 20)), ({ segment }) => segment) : name;
  return first.toLocaleUpperCase();
}

function hueOf(name) {
  let hash = 2166136261; // FNV-1a
  for (const letter of name.normalize("NFKC").toLowerCase()) hash = Math.imul(hash ^ letter.codePointAt(0), 16777619);
  hash ^= hash >>> 15;
  return ((hash >>> 0) % HUES) * (360 / HUES);
}
