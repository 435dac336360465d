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
