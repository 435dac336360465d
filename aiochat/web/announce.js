// What a screen reader is told of: live messages of others in the room that is shown, a few at a time, and never the
// history.

import { part } from "./dom.js";

const EVERY_MS = 1000;
const MOST = 3; // more at once are only counted

let waiting = [];
let timer = 0;

/** Have it read out, when there is time for it. */
export function announce(text) {
  waiting.push(text);
  timer ||= setTimeout(tell, EVERY_MS / 4);
}

function tell() {
  const told = waiting;
  waiting = [];
  timer = told.length ? setTimeout(tell, EVERY_MS) : 0;
  if (told.length) part("announce").textContent = told.length > MOST ? `${told.length} new messages` : told.join("\n");
}
