// What the page remembers: the name, the rooms, and how far each was read. A browser may keep nothing; then it is
// forgotten.

const KEY = "aiochat";
const MOST_ROOMS = 20;
const MOST_CLIENTS = 20;

/** The tab's own first, so that two tabs of one browser can have two names. */
const remembered = { name: "", rooms: {}, clients: [], ...read("localStorage"), ...read("sessionStorage") };

export function rememberedName() {
  return typeof remembered.name === "string" ? remembered.name : "";
}

/** The rooms of the last time; for each up to where it was read, if anything was. */
export function rememberedRooms() {
  return Object.entries(remembered.rooms ?? {}).slice(-MOST_ROOMS);
}

/** What this tab was on the server: what those have said is its own, after a reload, too. */
export function rememberedClients() {
  return Array.isArray(remembered.clients) ? remembered.clients : [];
}

export function rememberClient(client) {
  remembered.clients = [...rememberedClients().slice(-MOST_CLIENTS), client];
  write();
}

export function rememberName(name) {
  remembered.name = name;
  write();
}

/** `rooms` are pairs of a room's name and up to where it was read. */
export function rememberRooms(rooms) {
  remembered.rooms = Object.fromEntries(rooms);
  write();
}

function read(kind) {
  try {
    return JSON.parse(globalThis[kind].getItem(KEY)) ?? {};
  } catch {
    return {}; // it is switched off, or holds what is not ours
  }
}

function write() {
  save("sessionStorage", remembered);
  save("localStorage", { ...remembered, clients: [] });
}

function save(kind, what) {
  try {
    globalThis[kind].setItem(KEY, JSON.stringify(what));
  } catch {
    // it is switched off, or full
  }
}
