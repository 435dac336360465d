// Who this person is, what to be called, and what the browser remembers of it.

import { part, visible } from "./elements.js";
import { coloured, shownName } from "./people.js";

export class Me {
  #name = rememberedName();
  #clients = new Set(rememberedClients());

  /** What to be called in a room that one comes into; undefined for a guest. */
  get name() {
    return this.#name || undefined;
  }

  set name(name) {
    this.#name = name;
    rememberName(name);
  }

  /** The server has a name that it refuses; it may take it another time. */
  forgetName() {
    this.#name = "";
  }

  recognise(client) {
    if (this.#clients.has(client)) return;
    this.#clients.add(client);
    rememberClient(client);
  }

  /** Whether a sender is this person. */
  is(sender) {
    return Boolean(sender?.client) && this.#clients.has(sender.client);
  }

  /** Those of some senders who are somebody else. */
  others(senders) {
    return (senders ?? []).filter((sender) => !this.is(sender));
  }
}

// What one is called: the button that shows it, and the dialog in which to change it.

export class Naming {
  #chat;
  #button = part("me");
  #dialog = part("naming");
  #field = part("name");
  #trouble = part("trouble");
  #page;

  /** `page.rename` takes the name, and resolves when it is given; `page.refused` is told why not, after the dialog is
   * closed. */
  constructor(chat, page) {
    this.#chat = chat;
    this.#page = page;
    this.#button.onclick = () => this.#open();
    part("unnamed").onclick = () => this.#dialog.close();
    part("nameform").onsubmit = (event) => {
      event.preventDefault();
      void this.#save(this.#field.value.trim());
    };
  }

  /** Show what one is called in a room. */
  show(room) {
    const name = this.#chat.nameIn(room);
    const shown = name ? shownName({ name }) : "Choose a name";
    this.#button.firstElementChild.textContent = shown;
    this.#button.setAttribute("aria-label", name ? `Your name: ${shown}` : shown);
    this.#button.classList.toggle("unnamed", !name);
    if (name) coloured(this.#button, shown);
    this.#field.value ||= name ?? "";
  }

  #open() {
    this.#trouble.textContent = "";
    this.#dialog.showModal();
    this.#field.select();
  }

  async #save(name) {
    if (!name) return this.#dialog.close();
    const renaming = this.#page.rename(name);
    if (this.#chat.state.state !== "online") this.#dialog.close(); // it is done when the connection is back
    try {
      await renaming;
      this.#dialog.close();
      part("line").focus();
    } catch (error) {
      if (!this.#dialog.open) this.#page.refused(error);
      this.#trouble.textContent = visible(error.reason ?? error.message);
    }
  }
}

// What the page remembers: the name, the rooms, and how far each was read. A browser may keep nothing; then it is
// forgotten.

const KEY = "aiochat";
const MOST_ROOMS = 20;
const MOST_CLIENTS = 20;

/** The tab's own first, so that two tabs of one browser can have two names. */
const remembered = { name: "", rooms: {}, clients: [], token: "", ...read("localStorage"), ...read("sessionStorage") };

function rememberedName() {
  return typeof remembered.name === "string" ? remembered.name : "";
}

/** The rooms of the last time; for each up to where it was read, if anything was. */
export function rememberedRooms() {
  return Object.entries(remembered.rooms ?? {}).slice(-MOST_ROOMS);
}

/** What this tab was on the server: what those have said is its own, after a reload, too. */
function rememberedClients() {
  return Array.isArray(remembered.clients) ? remembered.clients : [];
}

function rememberClient(client) {
  remembered.clients = [...rememberedClients().slice(-MOST_CLIENTS), client];
  write();
}

/** The access token that a link has brought (/#token=...), if any. The tab keeps it, its address does not. */
export function accessToken() {
  const brought = /^#token=([\w.-]+)$/.exec(location.hash)?.[1];
  if (brought) {
    history.replaceState(null, "", location.pathname + location.search);
    rememberToken(brought);
  }
  return remembered.token || undefined;
}

/** Keep an access token for as long as the tab is there; "" forgets it. */
export function rememberToken(token) {
  remembered.token = token;
  write();
}

function rememberName(name) {
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
  save("localStorage", { ...remembered, clients: [], token: "" });
}

function save(kind, what) {
  try {
    globalThis[kind].setItem(KEY, JSON.stringify(what));
  } catch {
    // it is switched off, or full
  }
}
