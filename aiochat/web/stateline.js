// The connection's state as a person understands it: one line, a button while it waits, and a banner for what ends it.

import { button, counted, make, part, setText } from "./dom.js";
import { sentence } from "./safe.js";

const NEWS_MS = 5000; // for which it says that all was caught up with
const TICK_MS = 250;
const LEFT = 1000;
const ADVICE = {
  1009: "What was sent is longer than the server takes.",
  4003: "Your access has expired. Sign in again, then come back.",
  4400: "The page and the server do not understand each other. Reload the page.",
  4401: "You are not signed in. Sign in, then come back.",
  4403: "You may not chat here. Ask those who run it.",
  4409: "It goes on in another window. Close that one, or come back here.",
  4410: "You were shown the door. Be kind, if you come back.",
  4429: "Too much was sent in a short time. Wait a moment before you come back.",
};

export class StateLine {
  #line = part("state");
  #lost = make("span", { className: "lost" });
  #text = make("span");
  #seconds = make("span", { aria: { hidden: true } }); // changes all the time, and is not read out
  #now = part("now");
  #banner = part("banner");
  #timer = 0;

  /** `reconnect` is called by the button. */
  constructor(reconnect) {
    this.#now.onclick = reconnect;
    this.#line.replaceChildren(this.#lost, this.#text, this.#seconds);
  }

  /** Show the state; it says so itself when time goes on. */
  show(state) {
    clearInterval(this.#timer);
    this.#line.dataset.state = state.state;
    if (document.activeElement === this.#now && state.state !== "waiting") part("line").focus();
    this.#now.hidden = state.state !== "waiting";
    SHOWN[state.state](this, state);
  }

  say(text, { lost = "", seconds = "" } = {}) {
    setText(this.#lost, lost);
    setText(this.#text, text);
    setText(this.#seconds, seconds);
  }

  countDown(retryAt) {
    const tell = () => {
      const seconds = Math.round((retryAt - Date.now()) / 1000);
      const lost = navigator.onLine === false ? "this device is offline, " : "connection lost, ";
      this.say("reconnecting", { lost, seconds: seconds >= 1 ? ` in ${seconds} s` : " …" });
    };
    tell();
    this.#timer = setInterval(tell, TICK_MS);
  }

  later(text) {
    this.#timer = setInterval(() => this.say(text), NEWS_MS);
  }

  /** What stands above the message field until it is settled: `text`, and a button. Without a text it goes away. */
  alert(text, action, onclick) {
    if (this.#banner.contains(document.activeElement)) part("line").focus();
    this.#banner.hidden = !text;
    this.#banner.replaceChildren(make("span", {}, text), button(action, onclick, { className: "quiet" }));
  }

  /** The server has ended the chat for good. */
  refused({ code, reason }) {
    const what = sentence(reason || `the server has ended the chat (${code})`);
    this.alert(`${what} ${ADVICE[code] ?? ""}`.trim(), "Come back", () => location.reload());
  }
}

const SHOWN = {
  connecting: (line, { attempt }) => line.say(attempt > 1 ? "reconnecting …" : "connecting …"),
  catchingup: (line) => line.say("catching up …"),
  waiting: (line, { retryAt }) => line.countDown(retryAt),
  closed: (line, { code }) => line.say(code === LEFT ? "you have left" : "not connected"),
  online(line, { missed, isBack }) {
    if (!isBack) return line.say("connected");
    line.say(missed ? `caught up, ${counted(missed, "message")}` : "connected again");
    line.later("connected");
  },
};
