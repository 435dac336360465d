// The sides of the page: the list of the rooms, and both sides as drawers on a narrow screen.

import { button, make, part, setText, visibleName } from "./elements.js";

// The rooms one is in, with what is unread in each, and the field to come into another one.

const MOST_UNREAD = 99;
const SOON_MS = 50;

export class RoomList {
  #chat;
  #places;
  #leave;
  #list = part("roomlist");
  #field = part("joinroom");
  #isScheduled = false;

  /** `leave` is told of the room that is to be left. */
  constructor({ chat, places, leave }) {
    this.#chat = chat;
    this.#places = places;
    this.#leave = leave;
    this.#field.onfocus = () => this.#offer();
    part("join").onsubmit = (event) => {
      event.preventDefault();
      const room = this.#field.value.trim().replace(/^#/, "");
      if (room) places.go(room);
      this.#field.value = "";
    };
  }

  /** A room is there, is gone, is the one that is shown, or has something unread. */
  changed() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setTimeout(() => {
      this.#isScheduled = false;
      this.#render();
    }, SOON_MS); // there are no animation frames in a hidden tab, and its title is what one sees of it
  }

  #render() {
    const shown = new Map(Array.from(this.#list.children, (item) => [item.dataset.room, item]));
    for (const [name, room] of this.#places.rooms) {
      const item = shown.get(name) ?? this.#add(name);
      shown.delete(name);
      this.#update(item, room);
    }
    for (const item of shown.values()) item.remove();
    const { current } = this.#places;
    const unread = [...this.#places.rooms.values()].reduce((sum, room) => sum + room.unread, 0);
    setText(part("elsewhere"), badge(unread - current.unread));
    const title = `${unread ? `(${badge(unread)}) ` : ""}${visibleName(current.name)} · aiochat`;
    if (document.title !== title) document.title = title;
  }

  #add(name) {
    const shown = visibleName(name);
    const link = make(
      "a",
      { href: `#${encodeURIComponent(name)}`, title: shown },
      make("bdi", {}, shown),
      make("span", { className: "badge", aria: { hidden: true } }),
    );
    const leave = button("×", () => this.#leave(name), {
      className: "leave",
      title: `Leave ${shown}`,
      aria: { label: `Leave ${shown}` },
    });
    const item = make("li", { data: { room: name } }, link, leave);
    this.#list.append(item);
    return item;
  }

  #update(item, { name, unread, isIn, outReason }) {
    const [link] = item.children;
    const count = badge(unread);
    setText(link.lastChild, count);
    link.setAttribute("aria-label", `${visibleName(name)}${unread ? `, ${unread} unread` : ""}`);
    item.classList.toggle("unread", unread > 0);
    item.classList.toggle("out", !isIn && outReason !== "");
    if (name === this.#places.current.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }

  /** Other rooms to come into, while the field has the focus. */
  async #offer() {
    try {
      const { rooms } = await this.#chat.rooms();
      const others = rooms.filter(({ room }) => !this.#places.rooms.has(room));
      part("others").replaceChildren(
        ...others.map(({ room, members }) => make("option", { value: room }, `${members} here`)),
      );
    } catch {
      // then there is nothing to choose from
    }
  }
}

function badge(unread) {
  return unread > MOST_UNREAD ? `${MOST_UNREAD}+` : unread ? String(unread) : "";
}

// On narrow screens the rooms and the people are drawers: a button opens one, Escape or a tap beside it closes it.

const NARROW = { rooms: matchMedia("(max-width: 45rem)"), people: matchMedia("(max-width: 68rem)") };
let open = null;

/** Make the two drawers work. */
export function setUpDrawers() {
  for (const [name, isNarrow] of Object.entries(NARROW)) {
    part(`open${name}`).onclick = () => (open === name ? closeDrawer() : openDrawer(name));
    isNarrow.addEventListener("change", closeDrawer);
  }
  part("scrim").onclick = closeDrawer;
  addEventListener("keydown", (event) => event.key === "Escape" && !event.defaultPrevented && closeDrawer());
}

export function closeDrawer() {
  if (!open) return;
  const name = open;
  open = null;
  show(name, false);
  part(`open${name}`).focus();
}

function openDrawer(name) {
  if (open) closeDrawer();
  open = name;
  show(name, true);
  part(name).querySelector("a, button, input, [tabindex]")?.focus();
}

function show(name, isOpen) {
  part(name).classList.toggle("open", isOpen);
  part("scrim").hidden = !isOpen;
  part("main").inert = isOpen;
  part(`open${name}`).setAttribute("aria-expanded", isOpen);
}
