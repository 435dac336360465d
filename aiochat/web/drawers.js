// On narrow screens the rooms and the people are drawers: a button opens one, Escape or a tap beside it closes it.

import { part } from "./dom.js";

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
