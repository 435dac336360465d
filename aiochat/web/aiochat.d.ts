/**
 * The JavaScript client of aiochat: a chat that stays, whatever happens to the connection.
 *
 * It reconnects by itself, resumes its session, catches up with each room and sends again what was not acknowledged:
 * what it publishes is in the room's log once, and what the log holds comes once and in order. Times are in
 * milliseconds.
 */

/** Begin a chat, and return at once: what is asked waits until it is connected. Throws a TypeError for a URL that is
 * none, and where there is no WebSocket. */
export function connect(options: Options): Chat;

/** The time before the next connection, after so many failures in a row (1 or more): a random one up to a bound that
 * doubles from 1 to 20 s, and never under 0.5 s. */
export function fullJitter(failures: number, random?: () => number): number;

export interface Options {
  /** Such as `wss://chat.example/ws`; in a page it may be relative to the page (`ws`), and http: is as good as ws:. */
  url: string | URL;
  /** What to be called in the rooms; without one the server shows `guest-ID`. */
  name?: string;
  /** Where to be from the beginning: one room or several. What is refused is told as `error` and `left`. */
  rooms?: string | Iterable<string>;
  /** Shows who one is: a string, or a function that gives one for each connection. */
  token?: string | (() => string | null | undefined | Promise<string | null | undefined>) | null;
  /** For how long what the server refuses for now is asked again before the caller is told. 30,000 by default. */
  retryMs?: number;
  /** How many commands may wait for their answer; more are refused with `too_many_pending`. 1000 by default. */
  maxPending?: number;
  /** How many bytes these may have together. 4 MiB by default. */
  maxPendingBytes?: number;
  /** The time before the next connection; `fullJitter` by default. What the server's `goodbye` asks for goes over
   * it. */
  backoff?: (failures: number) => number;
  /** The one to use where there is no global WebSocket, such as that of the package `ws`. */
  WebSocket?: WebSocketClass;
}

/** As much of a WebSocket class as is needed: the browser's, that of Node.js 22, or that of the package `ws`. */
export type WebSocketClass = new (url: any, protocols?: any) => {
  readonly protocol: string;
  onopen: unknown;
  onmessage: unknown;
  onerror: unknown;
  onclose: unknown;
  send(data: string): void;
  close(code?: number, reason?: string): void;
};

export interface Chat {
  /** Call `handler` for each event of this kind. Returns a function that takes it off again. What a handler throws is
   * reported, and does not disturb the chat. */
  on<Kind extends keyof Events>(kind: Kind, handler: (event: Events[Kind]) => void): () => void;

  /** The last `state` event. */
  readonly state: State;
  /** The session's id; it stays over a break, as long as the server can resume it. "" before the first connection. */
  readonly client: string;
  /** Who the server has verified this to be. */
  readonly user: string | undefined;
  /** What the server allows; known once it is connected. */
  readonly limits: Limits | undefined;
  /** What the server can do; known once it is connected. */
  readonly features: readonly string[];
  /** The rooms where this client is. */
  readonly joined: readonly string[];
  /** What this client is called in a room, if it is there and has a name. */
  nameIn(room: string): string | undefined;
  /** Up to where a room was told: what to give `join` as `since` after a restart. */
  position(room: string): Position | undefined;

  /** Say it in a room. The promise, which has the `key` at once, is resolved once the message is in the room's log; the
   * message itself comes as an event like all others, with the same `key`, before that or after it. It is there once,
   * whatever happens to the connection. What is published in a room is in its log in that order; only if the log takes
   * nothing for a moment, one that is refused for now may come after others that were under way with it. */
  publish(room: string, text?: string | null, options?: PublishOptions): Publishing;
  /** Come into a room, under the name that `connect` was given unless there is another one. With `since`, what was said
   * after it comes as events, and then `caughtup`. */
  join(room: string, options?: { name?: string; since?: Position }): Promise<Joined>;
  /** Go out of a room. */
  leave(room: string): Promise<Left>;
  /** Be called otherwise, in these rooms, or in all and in those that are joined from then on. A taken name gets a
   * number: the answers, one for each room, have the name that was given. */
  rename(name: string, rooms?: string | Iterable<string>): Promise<Renamed[]>;
  /** Say it to one client, to all of a user's, or to who is called `name` in `room`; it is in no log. */
  direct(to: Recipient, text?: string | null, options?: { data?: Json }): Promise<Sent>;
  /** What was said `before` or `after` an offset, or last; oldest first, `limit` is 300 at most. */
  history(
    room: string,
    options?: { before?: number; after?: number; epoch?: string; limit?: number },
  ): Promise<HistoryPage>;
  /** Who is in a room where this client is, too. */
  who(room: string): Promise<Members>;
  /** Which rooms there are. */
  rooms(): Promise<RoomList>;
  /** Tell a room that one is writing; nothing is told while the connection is down. */
  typing(room: string): void;
  /** Call a function of the application that the server is part of; gives what that returns. */
  call(method: string, data?: Json): Promise<Json | undefined>;
  /** Show a new access token; gives when it expires, in milliseconds since 1970. */
  refresh(token: string): Promise<number>;
  /** How long the server takes to answer, in milliseconds. */
  ping(): Promise<number>;
  /** Connect now, where the state is `waiting`: for a button. */
  reconnect(): void;
  /** Leave. What waits for an answer is rejected with `closed`, and no event comes after the `state` `closed`. */
  close(): void;
}

export interface PublishOptions {
  /** Anything that JSON can say, beside the text or instead of it. */
  data?: Json;
  /** 8 to 64 characters. To try again what failed give its `key`: within a session it is in the log once then. */
  key?: string;
  /** Takes it back, unless it is on its way already. The promise is rejected with the signal's reason. */
  signal?: AbortSignal;
}

export type Publishing = Promise<Ack> & { readonly key: string };

/** All promises are rejected with one. */
export class ChatError extends Error {
  /** What the server refused it with (docs/protocol.md: `forbidden`, `rate_limited`, ...), or what this client did:
   *
   * - `too_long`: longer than `limits.message_bytes`, and not sent;
   * - `bad_message`: `data` is what JSON cannot say, and not sent;
   * - `too_many_pending`: too much waits for an answer already;
   * - `interrupted`: the connection was lost before the answer, and it is not known whether the server did it;
   * - `closed`: the chat is over. */
  readonly code: string;
  /** A sentence. */
  readonly reason: string;
  /** Which field was wrong. */
  readonly field: string | undefined;
  /** When to try again; where it is absent, trying again is no use. */
  readonly retryAfterMs: number | undefined;
  /** Of `closed`: the WebSocket close code, if there was a Close. */
  readonly closeCode: number | undefined;
}

/** What `on` can be told of. */
export interface Events {
  /** What the connection does. */
  state: State;
  /** It came into a room; `messages` has what was said there last, and it is not told again. */
  joined: Joined;
  /** It is out of a room: it left, or the server took it out or did not let it in (then there is a `reason`). */
  left: Left;
  /** Something was said, or was said meanwhile. */
  message: Message;
  /** A message was taken back: the one at offset `target`. */
  erased: Erased;
  /** Entries of a room's log that cannot be had; it comes where they would have. */
  gap: Gap;
  /** All that was missed in a room has been told; what follows is live. */
  caughtup: CaughtUp;
  /** Who came, went and was renamed. */
  presence: Presence;
  /** Who types. */
  typing: TypingNow;
  /** Something for this client alone. */
  direct: DirectMessage;
  /** The server complains of something that no promise waits for, such as one of `connect`'s rooms. */
  error: ServerError;
  /** The server has ended the chat for good, and it does not come back by itself. The `state` `closed` follows. */
  refused: { code: number; reason: string };
}

/**
 * `connecting`, `catchingup`, `online`; after a break `waiting`, and again `connecting`, ...; at the end `closed`.
 *
 * - `connecting`: a connection is being made; `attempt` counts from 1 since the last one that stood.
 * - `catchingup`: the connection stands; it comes into its rooms, and is told what it missed. `resumed`: it is the
 *   session of before.
 * - `online`: all rooms are live. `missed` is how many messages were caught up with, in all rooms.
 * - `waiting`: the connection is lost; the next try is in `retryInMs`, at `retryAt` of `Date.now()`. `code` and
 *   `reason` are those of the Close, 1006 where there was none.
 * - `closed`: for good: by `close` (1000), or see `refused`.
 */
export type State =
  | { state: "connecting"; attempt: number }
  | { state: "catchingup"; client: string; resumed: boolean }
  | { state: "online"; client: string; resumed: boolean; missed: number }
  | { state: "waiting"; retryInMs: number; retryAt: number; code: number; reason: string }
  | { state: "closed"; code: number; reason: string };

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** Exactly one of the three. */
export type Recipient = { client: string } | { user: string } | { name: string; room: string };

/** A place in a room's log. */
export interface Position {
  epoch: string;
  offset: number;
}

/** Who speaks: a session's id, the verified user if there is one, the name if it has one. */
export interface Sender {
  client?: string;
  name?: string;
  user?: string;
}

/** One entry of a room's log; `offset` counts 1, 2, 3, ... in the room, `ts` is since 1970. In `messages` of `joined`
 * and `history`, one that was taken back has `erased: true` and neither `text` nor `data` nor `sender`. */
export interface Message {
  type: "message";
  room: string;
  offset: number;
  ts: number;
  sender?: Sender;
  text?: string;
  data?: Json;
  key?: string;
  erased?: boolean;
}

/** An entry of the room's log that takes back the message at offset `target`. */
export interface Erased {
  type: "erased";
  room: string;
  offset: number;
  ts: number;
  target: number;
}

export type Entry = Message | Erased;

/** `offset` is that of the newest entry, `members` a count, `messages` is oldest first. */
export interface Joined {
  room: string;
  name?: string;
  epoch: string;
  offset: number;
  members: number;
  messages: readonly Entry[];
}

/** `reason` is why, where this client did not ask for it: the code of an error, such as `forbidden`. */
export interface Left {
  room: string;
  reason?: string;
}

/** The message is in the room's log at `offset`. `repeated`: it was before, under the same `key`. */
export interface Ack {
  room: string;
  offset: number;
  ts: number;
  key?: string;
  repeated?: boolean;
}

/** Entries `from` to `to` of this `epoch`. Without those two the log has begun anew: `epoch` is the new one, `offset`
 * the newest of it, and what was told before is of another log. */
export interface Gap {
  room: string;
  epoch: string;
  from?: number;
  to?: number;
  offset?: number;
}

/** `messages` of them were missed, `members` are in the room, and `name` is what this client is called there now. */
export interface CaughtUp {
  room: string;
  messages: number;
  members: number;
  name?: string;
}

/** Who came, went and was renamed since the last one; in a large room only how many `members` there are. */
export interface Presence {
  room: string;
  members: number;
  came?: readonly Sender[];
  went?: readonly Sender[];
  renamed?: readonly { client?: string; was: string; name: string; user?: string }[];
}

/** Who typed since the last one, 20 at most. */
export interface TypingNow {
  room: string;
  senders: readonly Sender[];
}

/** `room` is where both are, if it was addressed by name. */
export interface DirectMessage {
  sender: Sender;
  ts: number;
  room?: string;
  text?: string;
  data?: Json;
}

/** Oldest first; `more` in the direction asked. */
export interface HistoryPage {
  room: string;
  epoch: string;
  messages: readonly Entry[];
  more: boolean;
}

/** At most 200 of a room's `count` members. */
export interface Members {
  room: string;
  count: number;
  members: readonly Sender[];
}

/** At most 100 of `count` rooms, the fullest first. */
export interface RoomList {
  count: number;
  rooms: readonly { room: string; members: number }[];
}

export interface Renamed {
  room: string;
  name: string;
}

/** To how many connections it went; `name` is whom it was addressed to, if by name. */
export interface Sent {
  connections: number;
  name?: string;
}

/** `room` is there where this client could not come into one of `connect`'s rooms, or back into one. */
export interface ServerError {
  command?: string;
  code: string;
  field?: string;
  reason: string;
  retry_after_ms?: number;
  room?: string;
}

/** Where there is no limit, 0. */
export interface Limits {
  message_bytes: number;
  rooms: number;
  messages_per_second: number;
  burst_messages: number;
  history_messages: number;
  key_ms: number;
  session_ms: number;
}
