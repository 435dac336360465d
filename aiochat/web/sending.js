// Own messages on their way: shown at once, marked once they are in the log, and sent again under the same key if they
// are not.

import { button, make, part } from "./dom.js";
import { elementOf } from "./message.js";
import { visible } from "./safe.js";

const HOPELESS = new Set(["too_long", "bad_message", "key_reused"]); // refused again, however often it is tried

export class Sending {
  #chat;
  #changed;
  #edit;

  /** `changed` is told of the room in which something happened to an own message; `edit` gets a text to be written
   * anew. */
  constructor(chat, changed, edit) {
    this.#chat = chat;
    this.#changed = changed;
    this.#edit = edit;
  }

  /** Say it in a room. */
  send(room, text, data) {
    const message = {
      text,
      data,
      ts: Date.now(),
      sender: { client: this.#chat.client, name: this.#chat.nameIn(room.name) },
    };
    this.#publish(room, { item: { kind: "message", message, ts: message.ts } });
  }

  /** The element of one that is not in the log yet: the one that it has, brought up to date, or a new one. */
  element(sent, known) {
    const element = known ?? elementOf(sent.item, true);
    if (element.dataset.state === sent.state) return element;
    Object.assign(element.dataset, { key: sent.key, state: sent.state });
    element.querySelector(".fate")?.remove();
    if (sent.state === "failed") element.append(this.#failure(sent));
    return element;
  }

  #publish(room, sent) {
    const { text, data } = sent.item.message;
    const sending = this.#chat.publish(room.name, text, { data, ...(sent.key && { key: sent.key }) });
    Object.assign(sent, { key: sending.key, state: "sending", room });
    sent.item.message.key = sending.key;
    room.outgoing.set(sending.key, sent);
    this.#changed(room);
    sending.then(
      () => this.#settle(sent, "sent"),
      (error) => this.#settle(sent, "failed", error),
    );
  }

  #settle(sent, state, error) {
    Object.assign(sent, { state, error });
    this.#changed(sent.room);
  }

  #failure(sent) {
    const reason = make("span", { role: "alert" }, `not sent: ${visible(sent.error.reason ?? sent.error.message)}`);
    const [word, act] = HOPELESS.has(sent.error.code)
      ? ["Edit", () => this.#rewrite(sent)]
      : ["Retry", () => this.#again(sent)];
    const buttons = [
      button(word, act, { className: "quiet" }),
      button("Discard", () => this.#discard(sent), { className: "quiet" }),
    ];
    return make("p", { className: "fate" }, reason, ...buttons);
  }

  #again(sent) {
    part("line").focus(); // the button goes away
    this.#publish(sent.room, sent);
  }

  #rewrite(sent) {
    this.#discard(sent);
    this.#edit(sent.item.message.text);
  }

  #discard(sent) {
    part("line").focus();
    sent.room.outgoing.delete(sent.key);
    this.#changed(sent.room);
  }
}
