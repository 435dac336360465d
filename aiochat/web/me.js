// Who this person is: the name to ask for, and all that this tab was to the server.

import { rememberClient, rememberedClients, rememberedName, rememberName } from "./storage.js";

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
