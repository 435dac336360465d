// Drives the JavaScript client for the tests: calls come in as JSON lines; what they give, and what happens, goes out.
// A Node.js process has no window: the one here tells of what the test says.

import { createInterface } from "node:readline";
import { WebSocket } from "ws";
import { connect, fullJitter } from "../aiochat/web/aiochat.js";

const KINDS = [
  "state", "joined", "left", "message", "erased", "gap", "caughtup", "presence", "typing", "direct", "error", "refused",
];
const window = new EventTarget();
globalThis.addEventListener = window.addEventListener.bind(window);
globalThis.removeEventListener = window.removeEventListener.bind(window);
globalThis.document = Object.assign(new EventTarget(), { visibilityState: "visible" });
globalThis.reportError = (error) => print({ kind: "reported", reason: error.message });

const aborts = new Map();
const mends = [];
let chat;

function print(said) {
  process.stdout.write(`${JSON.stringify(said)}\n`);
}

const calls = {
  connect({ waitMs = 0, tokens, ...options }) {
    const backoff = (failures) => (print({ kind: "failures", failures }), waitMs);
    const token = tokens && (async () => taken(tokens.shift()));
    chat = connect({ WebSocket, backoff, token, ...options });
    for (const kind of KINDS) chat.on(kind, (event) => print({ ...event, kind }));
  },
  abort(key) {
    aborts.get(key).abort(new Error("taken back"));
  },
  break(kind) {
    const off = chat.on(kind, () => {
      throw new Error(`a handler of ${kind}`);
    });
    mends.push(off);
  },
  mend() {
    for (const off of mends) off();
  },
  closeOn(kind) {
    chat.on(kind, () => chat.close());
  },
  fullJitter(failures, drawn) {
    return fullJitter(failures, drawn === undefined ? undefined : () => drawn);
  },
  withoutCrypto() {
    Object.defineProperty(globalThis, "crypto", { value: undefined });
  },
  fire(event) {
    (event === "online" ? window : document).dispatchEvent(new Event(event));
  },
  look(visibilityState) {
    document.visibilityState = visibilityState;
    calls.fire("visibilitychange");
  },
  get(property) {
    return chat[property];
  },
  kinds() {
    try {
      chat.on("", () => {});
    } catch (error) {
      return error.message.match(/\w+(?=,|$)/g);
    }
  },
  members() {
    return Object.getOwnPropertyNames(Object.getPrototypeOf(chat)).filter((name) => name !== "constructor");
  },
  publish(room, text, options = {}) {
    const abort = new AbortController();
    const publishing = chat.publish(room, text, { signal: abort.signal, ...options });
    aborts.set(publishing.key, abort);
    print({ kind: "key", key: publishing.key });
    return publishing;
  },
  publishCycle(room) {
    const data = {};
    return chat.publish(room, null, { data: Object.assign(data, { data }) });
  },
};

function taken(token) {
  if (token === null) throw new Error("no token today");
  return token;
}

async function answer({ id, call, given }) {
  try {
    const gave = await (calls[call] ?? chat[call].bind(chat))(...given);
    print({ id, gave });
  } catch (error) {
    print({ id, failed: { ...error, name: error.name, message: error.message } });
  }
}

createInterface({ input: process.stdin })
  .on("line", (line) => void answer(JSON.parse(line)))
  .on("close", () => {
    chat?.close();
    process.exit();
  });
