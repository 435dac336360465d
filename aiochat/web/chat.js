// The page: one room over the text protocol. What people type only ever becomes textContent.

const SUBPROTOCOL = "aiochat.v1.text"; // without it a browser is not told why it is refused
const MAX_LINES = 1000;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 20_000;
const JOIN_MS = 2000; // a join whose last line does not come is over then
const STEADY_MS = 10_000; // a connection that lasted so long starts the backoff anew
const NEAR_END_PX = 48;
const FINAL_CODES = new Set([1000, 1002, 1003, 1007, 1009]);
const NAME = /^([^:@/"'*!\s][^:@/"']{0,31}): /;

const [place, room, name, state, log, newest, compose, line] = [
  "place", "room", "name", "state", "log", "newest", "compose", "line",
].map((id) => document.getElementById(id));

let socket = null;
let retries = 0;
let retryTimer = 0;
let awaited = null; // the lines of a join, until its last one: after a break some of them are shown already
let spoken = []; // the chat lines shown last, to know them again
let isBack = false; // after a break
let pending = []; // lines not shown yet

function isFinal(code) {
  return FINAL_CODES.has(code) || (code >= 4400 && code <= 4999);
}

function isSpoken(text) {
  return !text.startsWith("* ") && !text.startsWith("! ");
}

function show(text) {
  if (isSpoken(text)) spoken = [...spoken.slice(-49), text];
  pending.push(text);
  if (pending.length > MAX_LINES) pending.shift();
  if (pending.length === 1) setTimeout(showPending);
}

function showPending() {
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END_PX;
  log.append(...pending.map(lineElement));
  pending = [];
  while (log.childElementCount > MAX_LINES) log.firstElementChild.remove();
  if (isAtEnd) log.scrollTop = log.scrollHeight;
  else newest.hidden = false;
}

function lineElement(text) {
  const item = document.createElement("p");
  const speaker = isSpoken(text) && NAME.exec(text);
  if (!speaker) {
    item.textContent = text;
    if (text.startsWith("* ")) item.className = "notice";
    if (text.startsWith("! ")) item.className = "error";
    return item;
  }
  const who = document.createElement("b");
  who.textContent = speaker[1];
  who.style.setProperty("--hue", hueOf(speaker[1]));
  item.append(who, text.slice(speaker[1].length));
  if (speaker[1] === name.value.trim()) item.className = "own";
  return item;
}

function hueOf(text) {
  return [...text].reduce((hue, letter) => (hue * 31 + letter.codePointAt(0)) % 360, 7);
}

// What of a join's lines is new: those after the longest piece that the log ends with; null if there is no such piece.
function unseen(lines) {
  const chat = lines.filter(isSpoken);
  for (let count = Math.min(chat.length, spoken.length); count > 0; count--) {
    if (!chat.slice(0, count).every((text, index) => text === spoken.at(index - count))) continue;
    let left = count;
    return lines.slice(lines.findIndex((text) => isSpoken(text) && --left === 0) + 1);
  }
  return null;
}

function receive({ data }) {
  if (awaited === null) return show(data);
  awaited.push(data);
  if (data.startsWith("* you are in ") || data.startsWith("! ")) endJoin();
}

function endJoin() {
  if (awaited === null) return;
  const isNamed = name.value.trim() !== ""; // who has no name gets no history
  const lines = isNamed && spoken.length ? unseen(awaited) : awaited;
  if (isBack && (lines === null || !isNamed)) show("* back after a break: some lines may be missing here");
  (lines ?? awaited).forEach(show);
  awaited = null;
  isBack = false;
}

function tell(kind, text) {
  state.dataset.state = kind;
  state.textContent = text;
}

function address() {
  const url = new URL("ws", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  if (room.value.trim()) url.searchParams.set("room", room.value.trim());
  if (name.value.trim()) url.searchParams.set("name", name.value.trim());
  return url;
}

function connect() {
  clearTimeout(retryTimer);
  socket?.close();
  tell("waiting", "connecting");
  const current = new WebSocket(address(), SUBPROTOCOL);
  let openedAt = Infinity;
  socket = current;
  awaited = [];
  current.onopen = () => {
    openedAt = performance.now();
    if (current !== socket) return;
    tell("open", "connected");
    setTimeout(endJoin, name.value.trim() ? JOIN_MS : 0); // without a name there is nothing to wait for
  };
  current.onmessage = (event) => {
    if (current === socket) receive(event);
  };
  current.onclose = ({ code, reason }) => {
    if (current !== socket) return;
    if (performance.now() - openedAt > STEADY_MS) retries = 0;
    if (isFinal(code)) tell("ended", code === 1000 ? "you have left" : reason || `refused (${code})`);
    else retryLater();
  };
}

function retryLater() {
  const longest = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** retries);
  const delay = Math.random() * longest;
  retries += 1;
  isBack = true;
  tell("waiting", delay < 1500 ? "reconnecting" : `reconnecting in ${Math.round(delay / 1000)} s`);
  retryTimer = setTimeout(connect, delay);
}

function connectNow() {
  const isWaiting = state.dataset.state === "waiting" && socket?.readyState === WebSocket.CLOSED;
  if (isWaiting && document.visibilityState === "visible") connect();
}

function remember() {
  const url = new URL(location.href);
  for (const field of [room, name]) {
    const value = field.value.trim();
    if (value) url.searchParams.set(field.id, value);
    else url.searchParams.delete(field.id);
  }
  history.replaceState(null, "", url);
  document.title = `${room.value.trim() || "lobby"} · aiochat`;
}

// A room or name taken by a command is the one to come back to.
function follow(text) {
  const [command, ...words] = text.trim().split(/\s+/);
  const value = words.join(" ");
  if (command === "/join" && value) room.value = value;
  else if (command === "/leave") room.value = "lobby";
  else if (command === "/nick" && value) name.value = value;
  else return;
  remember();
}

place.addEventListener("submit", (event) => {
  event.preventDefault();
  const before = document.title;
  remember();
  if (document.title !== before) spoken = []; // another room's lines are not this one's
  retries = 0;
  isBack = false;
  show(`* joining ${room.value.trim() || "lobby"}`);
  connect();
  line.focus();
});

compose.addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket.readyState !== WebSocket.OPEN) return connectNow();
  if (line.value.trim()) socket.send(line.value);
  follow(line.value);
  line.value = "";
  line.focus();
});

log.addEventListener("scroll", () => {
  if (log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END_PX) newest.hidden = true;
});

newest.addEventListener("click", () => {
  log.scrollTop = log.scrollHeight;
  line.focus();
});

addEventListener("online", connectNow);
document.addEventListener("visibilitychange", connectNow);

const asked = new URLSearchParams(location.search);
room.value = asked.get("room") ?? "";
name.value = asked.get("name") ?? "";
remember();
connect();
