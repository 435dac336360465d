// Not run: the compiler says whether the types of the JavaScript client allow what they should, and nothing else.

import { WebSocket } from "ws";
import { type Ack, type Chat, ChatError, connect, fullJitter, type Position } from "aiochat-client";

const chat: Chat = connect({
  url: new URL("wss://chat.example/ws"),
  name: "alice",
  rooms: new Set(["lobby"]),
  token: async () => "token",
  backoff: (failures) => fullJitter(failures) + 1,
  WebSocket,
});
connect({ url: "ws", WebSocket: globalThis.WebSocket }).close();

const off: () => void = chat.on("message", ({ sender, text, offset }) => console.log(sender?.name, text?.length, offset + 1));
chat.on("state", (now) => {
  if (now.state === "waiting") console.log(now.retryInMs, now.retryAt);
  if (now.state === "online") console.log(now.missed);
  // @ts-expect-error only while it waits
  console.log(now.retryInMs);
});
off();

const publishing = chat.publish("lobby", "hi", { data: { mood: ["good", 1.5, null] }, signal: AbortSignal.timeout(1) });
const key: string = publishing.key;
const ack: Ack = await publishing;
const since: Position | undefined = chat.position("lobby");
const members: number = (await chat.join("lobby", { name: key, since })).members;
const offsets: number[] = (await chat.history("lobby", { before: 5, limit: ack.offset + members })).messages.map(
  (entry) => (entry.type === "erased" ? entry.target : entry.offset),
);
const names: string[] = (await chat.rename("al")).map((renamed) => renamed.name);
console.log(await chat.direct({ name: "bob", room: "lobby" }, "psst"), await chat.direct({ user: "u" }, null, { data: 1 }));
console.log(await chat.call("time"), await chat.refresh("token"), await chat.ping(), offsets, names, chat.limits?.key_ms);
try {
  await chat.leave("lobby");
} catch (error) {
  if (error instanceof ChatError) console.log(error.code, error.reason, error.field, error.retryAfterMs, error.closeCode);
}

// @ts-expect-error there is no such kind
chat.on("mesage", () => {});
// @ts-expect-error either, or
chat.direct({ room: "lobby" }, "psst");
// @ts-expect-error not JSON
chat.publish("lobby", null, { data: () => 1 });
// @ts-expect-error it needs a URL
connect({ rooms: "lobby" });
// @ts-expect-error read only
chat.state = { state: "connecting", attempt: 1 };
