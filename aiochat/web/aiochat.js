// The JavaScript client of aiochat: a chat that stays, whatever happens to the connection. For browsers and Node.js,
// with no other module; aiochat.d.ts says what each call and each event is. From the top: what a caller holds (Chat),
// the rules of one room (Room), what was asked (Pending), how fast one may ask (Pace), what keeps it going (Session).

const SUBPROTOCOL = "aiochat.v1.json";
const OPEN_MS = 15_000; // for a token, and then for the server's first word
const ANSWER_MS = 30_000; // for what the client asks for itself
const PROBE_MS = 5_000; // for a sign of life, when the browser says that something has changed
const QUIET_MS = 25_000; // until it asks for one, where the server names no interval
const STEADY_MS = 5_000; // a connection that held so long ends the row of failures
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const KEY_SHARE = 0.9; // of the time for which the server knows a key: what is sent again has a way to go
const TOKEN_EXPIRED = 4003;
const REFRESH_AFTER = 0.8; // of the time for which an access token holds
const REFRESH_AGAIN_MS = 5_000;
const ABNORMAL = 1006; // there was no Close
const FINAL = new Set([1000, 1002, 1003, 1007, 1009]);
const COSTLY = new Set(["history", "refresh", "resume", "rooms", "who"]); // what the server counts tenfold; catching up, too
const ONCE = new Set(["direct", "call"]); // what has no key, and would be done twice
const UNASKED = new Set(["stalled", "unavailable"]); // why a client is out of a room that it can come back to
const EVENTS = new Set([
  "state", "joined", "left", "message", "erased", "gap", "caughtup", "presence", "typing", "direct", "error", "refused",
]);
const PASSED = new Set(["typing", "direct", "error"]); // as they come
const UNKNOWN = "the connection was lost before the answer: whether the server did it is not known";
const utf8 = new TextEncoder();

/** Begin a chat; it connects, and comes back by itself. */
export function connect(options) {
  return new Chat(options);
}

/** Full jitter: a random time up to a bound that doubles with each failure in a row, and never under the shortest. */
export function fullJitter(failures, random = Math.random) {
  return 500 + random() * (Math.min(20_000, 500 * 2 ** Math.min(failures, 16)) - 500);
}

/** Why something that was asked was not done. */
export class ChatError extends Error {
  constructor(code, reason, { field, retryAfterMs, closeCode } = {}) {
    super(reason);
    Object.assign(this, { name: "ChatError", code, reason, field, retryAfterMs, closeCode });
  }
}

/** What a page or a program holds of a chat. */
class Chat {
  #handlers = new Map([...EVENTS].map((kind) => [kind, new Set()]));
  #name;
  #session;

  constructor({ url, name, rooms, ...options }) {
    const where = address(url);
    const { searchParams: named } = where;
    const wanted = rooms ?? named.get("room") ?? [];
    this.#name = name ?? named.get("name") ?? undefined;
    named.delete("room"); // at such a URL no session can be resumed
    named.delete("name");
    const names = new Set(listed(wanted).map(roomName));
    const joins = [...names].map((room) => ({ type: "join", room, name: this.#name }));
    this.#session = new Session(where, joins, options, (kind, event) => this.#emit(kind, event));
  }

  on(kind, handler) {
    const handlers = this.#handlers.get(kind);
    if (!handlers) throw new TypeError(`on: expected one of ${[...EVENTS].join(", ")}`);
    const called = (event) => handler(event); // one function may be there twice
    handlers.add(called);
    return () => void handlers.delete(called);
  }

  get state() {
    return this.#session.state;
  }

  get client() {
    return this.#session.client;
  }

  get user() {
    return this.#session.welcome?.user;
  }

  get limits() {
    return this.#session.welcome?.limits;
  }

  get features() {
    return this.#session.welcome?.features ?? [];
  }

  get joined() {
    return [...this.#session.rooms.keys()];
  }

  nameIn(room) {
    return this.#session.rooms.get(roomName(room))?.name;
  }

  position(room) {
    return this.#session.rooms.get(roomName(room))?.position;
  }

  publish(room, text, { data, key = newKey(), signal } = {}) {
    const acknowledged = this.#session.ask({ type: "publish", room: roomName(room), text, data, key }, signal);
    return Object.assign(acknowledged, { key });
  }

  join(room, { name = this.#name, since } = {}) {
    return this.#session.ask({ type: "join", room: roomName(room), name, since });
  }

  leave(room) {
    return this.#session.ask({ type: "leave", room: roomName(room) });
  }

  async rename(name, rooms) {
    const rename = (room) => this.#session.ask({ type: "rename", room: roomName(room), name });
    const renamed = await Promise.all(listed(rooms ?? this.joined).map(rename));
    if (rooms === undefined) this.#name = name;
    return renamed;
  }

  direct({ client, user, name, room }, text, { data } = {}) {
    const where = room === undefined ? undefined : roomName(room);
    return this.#session.ask({ type: "direct", client, user, name, room: where, text, data });
  }

  history(room, { before, after, epoch, limit } = {}) {
    return this.#session.ask({ type: "history", room: roomName(room), before, after, epoch, limit });
  }

  who(room) {
    return this.#session.ask({ type: "who", room: roomName(room) });
  }

  rooms() {
    return this.#session.ask({ type: "rooms" });
  }

  typing(room) {
    this.#session.tell({ type: "typing", room: roomName(room) });
  }

  async call(method, data) {
    return (await this.#session.ask({ type: "call", method, data })).data;
  }

  async refresh(token) {
    return (await this.#session.ask({ type: "refresh", token })).expires;
  }

  async ping() {
    const began = performance.now();
    await this.#session.ask({ type: "ping" });
    return performance.now() - began;
  }

  reconnect() {
    this.#session.connectNow();
  }

  close() {
    this.#session.end(1000, "this client has closed the chat");
  }

  #emit(kind, event) {
    for (const handler of [...this.#handlers.get(kind)]) {
      try {
        handler(event);
      } catch (error) {
        (globalThis.reportError ?? console.error)(error);
      }
    }
  }
}

/** One room as its member keeps it: up to where it has the log, and what of what comes is new. */
class Room {
  isLive = true; // what comes is the next; else what comes is left out until it has caught up
  recovered = true; // whether nothing was missed since the break
  #isAnew = false; // the log is another one, of which nothing was seen yet
  #missed = null; // messages caught up with since the break

  constructor(room, { epoch, offset }) {
    Object.assign(this, { room, epoch, offset, name: undefined, wanted: undefined }); // the name given, and asked for
  }

  get position() {
    return { epoch: this.epoch, offset: this.offset };
  }

  /** The connection is lost: what comes next is caught up with. */
  away() {
    this.isLive = false;
    this.recovered = true;
    this.#missed ??= 0;
  }

  /** What of a live entry is new: nothing if it was seen, and a gap before it if there is a hole. */
  *entry(entry) {
    if (this.isLive) yield* this.#next(entry);
  }

  /** Take note of what cannot be had. */
  *gap(gap) {
    if (gap.epoch !== this.epoch || gap.to === undefined) {
      Object.assign(this, { epoch: gap.epoch, offset: gap.offset ?? 0 });
      this.#isAnew = true;
    } else if (gap.to > this.offset) {
      this.offset = gap.to;
    } else {
      return;
    }
    this.recovered = false;
    yield gap;
  }

  /** What is new in the answer to `join` with `since`, or to `resume`. */
  *page({ epoch, offset, members, messages, recovered, more }) {
    if (recovered === false) this.recovered = false;
    if (epoch !== this.epoch) yield* this.gap({ type: "gap", room: this.room, epoch, offset });
    if (this.#isAnew) this.offset = messages.length ? messages[0].offset - 1 : offset;
    for (const entry of messages) {
      for (const event of this.#next(entry)) {
        if (this.#missed !== null && event.type === "message") this.#missed += 1;
        yield event;
      }
    }
    if (!more) yield* this.#caughtUp(offset, members);
  }

  *#caughtUp(offset, members) {
    const messages = this.#missed;
    this.isLive = true;
    this.offset = Math.max(this.offset, offset);
    this.#missed = null;
    if (messages !== null) yield { type: "caughtup", room: this.room, messages, members, name: this.name };
  }

  *#next(entry) {
    this.#isAnew = false;
    const from = this.offset + 1;
    if (entry.offset < from) return;
    this.offset = entry.offset;
    if (entry.offset > from) yield { type: "gap", room: this.room, epoch: this.epoch, from, to: entry.offset - 1 };
    yield entry;
  }
}

/** What was asked and is not answered yet: in order, bounded, and asked again after a break. */
class Pending {
  #asked = new Map(); // by id, in order
  #byKey = new Map(); // what is published
  #bytes = 0;
  #end = null; // the ChatError that all is rejected with
  #ids = 0;
  #isFlowing = false; // messages are taken: until then one alone is under way, so that none overtakes a refused one
  #limits = { key_ms: 0, message_bytes: 0 };
  #most;

  constructor(most) {
    this.#most = most;
  }

  /** The promise of an answer. What is the client's `own` goes before all else, and not over a break. */
  ask(command, { isOwn = false, signal } = {}) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.#end) throw this.#end;
      const id = ++this.#ids;
      const payload = encoded({ ...command, id });
      const bytes = utf8.encode(payload).length;
      this.#check(bytes);
      if (!isOwn && (this.#asked.size >= this.#most.commands || this.#bytes + bytes > this.#most.bytes)) {
        throw new ChatError("too_many_pending", `${this.#asked.size} commands wait for their answers already`);
      }
      const settle = (how) => (value) => {
        if (!this.#asked.delete(id)) return;
        if (this.#byKey.get(command.key) === asked) this.#byKey.delete(command.key);
        this.#bytes -= bytes;
        signal?.removeEventListener("abort", abort);
        how(value);
      };
      const asked = { id, command, payload, bytes, isOwn, sentAt: 0, refusedAt: 0, isSent: false, isDoubtful: false };
      Object.assign(asked, { resolve: settle(resolve), reject: settle(reject) });
      const abort = () => asked.reject(signal.reason);
      signal?.addEventListener("abort", abort);
      this.#asked.set(id, asked);
      if (command.type === "publish") this.#byKey.set(command.key, asked);
      this.#bytes += bytes;
    });
  }

  /** Go by these from now on: what waits and is too long for them would end the chat, and is given up. */
  limit(limits) {
    this.#limits = limits;
    for (const asked of this.#asked.values()) {
      try {
        this.#check(asked.bytes);
      } catch (refusal) {
        asked.reject(asked.sentAt ? interrupted() : refusal);
      }
    }
  }

  #check(bytes) {
    const { message_bytes: most } = this.#limits;
    if (!most || bytes <= most) return;
    throw new ChatError("too_long", `${bytes} bytes are more than the ${most} that the server takes`);
  }

  /** The first that is to be sent; before `isReady` only the client's own. */
  next(isReady) {
    for (const asked of this.#asked.values()) if (asked.isOwn && !asked.isSent) return asked;
    if (!isReady) return undefined;
    const unsettled = new Set(); // rooms that are to be entered before something is asked there
    let isTrying = false; // whether a message has to be taken, or found, before there is another one
    for (const asked of this.#asked.values()) {
      const { type, room } = asked.command;
      const isPublish = type === "publish";
      const waits = asked.isSent || asked.isDoubtful || unsettled.has(room) || (isPublish && isTrying);
      if (!waits) return asked;
      if (type === "join" && !asked.isOwn) unsettled.add(room);
      if (isPublish && (asked.isDoubtful || !this.#isFlowing)) isTrying = true;
    }
    return undefined;
  }

  /** Note that it is sent now. */
  sending(asked) {
    asked.isSent = true;
    asked.sentAt ||= Date.now();
  }

  /** What was asked under this id, if it waits for an answer. */
  command(id) {
    return this.#asked.get(id)?.command;
  }

  /** Give the answer to who asked. Returns for how many milliseconds the server wants to be asked nothing. */
  answered(answer, retryMs) {
    const asked = this.#asked.get(answer.id);
    if (!asked) return 0;
    if (answer.type === "error") return this.#refused(asked, answer, retryMs);
    if (answer.type === "ack") this.#acknowledge(asked, answer);
    else asked.resolve(answer);
    return 0;
  }

  /** The next one may be refused: wait until all that are under way were taken. */
  ebb() {
    this.#isFlowing = false;
  }

  #refused(asked, { code, reason, field, retry_after_ms: retryAfterMs }, retryMs) {
    if (retryAfterMs !== undefined) {
      asked.refusedAt ||= Date.now();
      if (asked.isOwn || Date.now() + retryAfterMs <= asked.refusedAt + retryMs) {
        asked.isSent = false;
        if (code === "rate_limited") asked.sentAt = 0; // what is `unavailable` may be in the log all the same
        this.ebb();
        return retryAfterMs;
      }
    }
    asked.reject(new ChatError(code, reason, { field, retryAfterMs }));
    return 0;
  }

  /** The connection is gone: all is to be sent again but what could do twice what was asked. */
  lost() {
    this.ebb();
    for (const asked of this.#asked.values()) {
      if (asked.isOwn || (asked.isSent && ONCE.has(asked.command.type))) asked.reject(interrupted());
      asked.isSent = false;
    }
  }

  /** Give up what was sent so long ago that the server does not know its key any more. */
  forgetStale() {
    const oldest = Date.now() - KEY_SHARE * this.#limits.key_ms;
    for (const asked of this.#published()) if (asked.sentAt < oldest) asked.reject(interrupted());
  }

  /** The session is another one: what was published in the old one may be in the log, and is looked for in `rooms`. */
  doubt(rooms) {
    for (const asked of this.#published()) {
      asked.isDoubtful = rooms.has(asked.command.room);
      if (!asked.isDoubtful) asked.reject(interrupted());
    }
  }

  /** A message came: if it is one of these, that is as good as its ack, which may never come. */
  saw({ room, offset, ts, key }) {
    const asked = this.#byKey.get(key);
    if (asked?.command.room === room) this.#acknowledge(asked, { type: "ack", room, offset, ts, key });
  }

  #acknowledge(asked, ack) {
    asked.resolve(ack);
    if (asked.isSent) this.#isFlowing ||= ![...this.#published()].some(({ isSent }) => isSent);
  }

  /** All of `room` was told: what is still in doubt is not in the log or, if not all was recovered, not known. */
  settle(room, recovered) {
    for (const asked of this.#published()) {
      if (!asked.isDoubtful || asked.command.room !== room) continue;
      if (recovered) Object.assign(asked, { isDoubtful: false, sentAt: 0 });
      else asked.reject(interrupted());
    }
  }

  *#published() {
    for (const asked of this.#asked.values()) if (asked.command.type === "publish" && asked.sentAt) yield asked;
  }

  /** The chat is over. */
  end(error) {
    this.#end = error;
    for (const asked of this.#asked.values()) asked.reject(error);
  }
}

/** How fast a client may ask: the server's own limits, kept on this side, so that next to nothing is refused. */
class Pace {
  #perMs = 0;
  #burst = 0;
  #budget = 0;
  #countedAt = performance.now();
  #heldUntil = 0;

  limit({ messages_per_second: perSecond, burst_messages: burst }) {
    if (!this.#perMs) this.#budget = burst;
    this.#perMs = perSecond / 1000;
    this.#burst = burst;
  }

  /** The server has had enough: nothing more for so long. */
  hold(ms) {
    this.#heldUntil = Math.max(this.#heldUntil, performance.now() + ms);
  }

  /** How long to wait before asking this; 0 or less: not at all. */
  waitMs(command) {
    const now = performance.now();
    const held = this.#heldUntil - now;
    if (!this.#perMs) return held;
    this.#budget = Math.min(this.#burst, this.#budget + (now - this.#countedAt) * this.#perMs);
    this.#countedAt = now;
    return Math.max(held, (Math.min(cost(command), this.#burst) - this.#budget) / this.#perMs);
  }

  /** It is asked now. */
  spend(command) {
    this.#budget -= cost(command);
  }
}

/** Keeps the chat going: connects, comes back into the session and its rooms, catches up, sends what was asked. */
class Session {
  rooms = new Map();
  state = { state: "connecting", attempt: 1 };
  client = "";
  welcome = undefined;

  #url;
  #emit;
  #WebSocket;
  #access; // the caller's token
  #backoff;
  #retryMs;
  #pending;
  #pace = new Pace();
  #link = null; // one connection, from its beginning to its loss
  #stands = false; // the connection is the session's
  #token = ""; // of the session, to resume it with
  #provisional = ""; // the same, of what this connection is until it has resumed
  #absent = new Set(); // rooms in which the client is not back yet
  #behind = new Set(); // rooms whose next page is to be asked for
  #paging = null; // the room whose page was asked for
  #entering; // rooms to come into at the beginning
  #missed = 0; // messages caught up with, since it was online
  #attempts = 0;
  #failures = 0; // in a row
  #retry = null; // the timer of a wait, and whether the wait is the server's wish
  #sending = null; // the timer of what is to be sent later
  #early = []; // into rooms of the access token, before the connection is the session
  #isOver = false;
  #wake = () => this.#woken();
  #applied = new Map([
    ["welcome", (event) => this.#welcomed(event)],
    ["session", ({ resume }) => (this.#stands ? (this.#token = resume) : (this.#provisional = resume))],
    ["resumed", (event) => (this.#connected(event.client, true), this.#answer(event))],
    ["joined", (event) => this.#joined(event)],
    ["left", (event) => this.#left(event)],
    ["message", (event) => this.#entry(event)],
    ["erased", (event) => this.#entry(event)],
    ["gap", (event) => this.#gap(event)],
    ["renamed", (event) => this.#renamed(event)],
    ["presence", (event) => this.#presence(event)],
    ["goodbye", (event) => (this.#link.goodbye = event)],
  ]);
  #look = () => globalThis.document.visibilityState === "visible" && this.#woken();

  constructor(url, joins, options, emit) {
    this.#url = url;
    this.#emit = emit;
    this.#WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (!this.#WebSocket) throw new TypeError("WebSocket: there is none here; pass that of the package ws");
    this.#access = options.token;
    this.#backoff = options.backoff ?? fullJitter;
    this.#retryMs = options.retryMs ?? 30_000;
    this.#pending = new Pending({ commands: options.maxPending ?? 1000, bytes: options.maxPendingBytes ?? 4 << 20 });
    this.#entering = joins.length;
    for (const join of joins) void this.#enter(join);
    globalThis.addEventListener?.("online", this.#wake);
    globalThis.document?.addEventListener("visibilitychange", this.#look);
    queueMicrotask(() => this.#connect()); // handlers are on by then
  }

  /** Ask for something of the caller's. */
  ask(command, signal) {
    const answer = this.#pending.ask(command, { signal });
    this.#send();
    return answer;
  }

  /** Tell what has no answer, or leave it where it cannot be told now. */
  tell(command) {
    if (!this.#isReady || this.#pace.waitMs(command) > 0) return;
    this.#pace.spend(command);
    this.#link.socket.send(encoded({ ...command, id: 0 }));
  }

  /** Do not wait any longer. */
  connectNow() {
    if (this.#retry) void this.#connect();
  }

  /** The chat is over, by the caller's wish or by the server's. */
  end(code, reason, isRefused = false) {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#drop();
    clearTimeout(this.#retry?.timer);
    globalThis.removeEventListener?.("online", this.#wake);
    globalThis.document?.removeEventListener("visibilitychange", this.#look);
    this.#pending.end(new ChatError("closed", reason, { closeCode: code }));
    this.state = { state: "closed", code, reason };
    if (isRefused) this.#emit("refused", { code, reason });
    this.#emit("state", this.state);
  }

  #tellState(state) {
    this.state = state;
    this.#emit("state", state);
  }

  #pass(event) {
    if (!this.#isOver) this.#emit(event.type, event);
  }

  async #enter(join) {
    try {
      await this.#pending.ask(join);
    } catch (refusal) {
      this.#out(join.room, refusal);
    }
    this.#entering -= 1;
    if (this.#link) this.#goOn();
  }

  // One connection, and the time between two.

  async #connect() {
    if (this.#isOver) return;
    clearTimeout(this.#retry?.timer);
    this.#retry = null;
    const link = { socket: null, began: Date.now(), timer: null, deadline: null, goodbye: null };
    this.#link = link;
    this.#attempts += 1;
    this.#expectWord(link, "no token");
    this.#tellState({ state: "connecting", attempt: this.#attempts });
    try {
      const token = typeof this.#access === "function" ? await this.#access() : this.#access;
      if (link === this.#link) this.#open(link, token);
    } catch (error) {
      this.#lose(link, ABNORMAL, `there was no token to show: ${error}`);
    }
  }

  #open(link, token) {
    this.#expectWord(link, "no answer");
    this.#provisional = "";
    let socket;
    try {
      socket = new this.#WebSocket(this.#url.href, token ? [SUBPROTOCOL, `bearer.${token}`] : [SUBPROTOCOL]);
    } catch (error) {
      this.end(1002, `the connection cannot be made: ${error.message}`, true); // and it would be the same again
      return;
    }
    link.socket = socket;
    let trouble = "the connection was lost";
    socket.onmessage = ({ data }) => this.#read(link, data);
    socket.onerror = ({ message }) => (trouble = message || trouble);
    socket.onclose = ({ code, reason }) => this.#lose(link, code === 1005 ? ABNORMAL : code, reason || trouble);
  }

  #expectWord(link, what) {
    clearTimeout(link.timer);
    link.timer = setTimeout(() => this.#lose(link, ABNORMAL, `${what} within ${OPEN_MS / 1000} seconds`), OPEN_MS);
  }

  #read(link, data) {
    if (typeof data !== "string") return this.#lose(link, 1003, "the server sent the wrong type of message");
    try {
      for (const line of data.split("\n")) {
        if (link === this.#link) this.#hear(JSON.parse(line));
      }
    } catch {
      return this.#lose(link, 1002, "the server said what this client does not understand");
    }
    if (link !== this.#link) return;
    if (link.isWelcome) this.#listen(link);
    this.#goOn();
  }

  /** Any word is a sign of life. A page does not see the server's pings, so it asks for a word where none comes. */
  #listen(link) {
    clearTimeout(link.timer);
    const quietMs = this.welcome.ping_interval_ms || QUIET_MS;
    link.timer = setTimeout(() => this.#probe(link, quietMs), quietMs);
  }

  #probe(link, patienceMs) {
    const ping = { type: "ping" };
    clearTimeout(link.timer);
    this.#pace.spend(ping);
    link.socket.send(encoded(ping));
    link.timer = setTimeout(() => this.#lose(link, ABNORMAL, "the server was silent"), patienceMs);
  }

  /** The browser is online again, or somebody looks; how long the server wants to be left alone counts all the same. */
  #woken() {
    this.#failures = 0; // while there is no network they say nothing of the server
    if (this.#retry && !this.#retry.isWish) this.connectNow();
    else if (this.#link?.isWelcome) this.#probe(this.#link, PROBE_MS);
  }

  #lose(link, code, reason) {
    if (link !== this.#link) return;
    const wish = link.goodbye ?? { code, reason };
    const heldMs = Date.now() - link.began;
    this.#drop();
    if (wish.reconnect === false || (wish.reconnect === undefined && this.#isFinal(wish.code))) {
      this.end(wish.code, wish.reason, true);
      return;
    }
    this.#failures = heldMs >= STEADY_MS ? 1 : this.#failures + 1;
    const retryInMs = Math.min(wish.after_ms ?? this.#backoff(this.#failures), LONGEST_TIMER_MS);
    const timer = setTimeout(() => this.connectNow(), retryInMs);
    this.#retry = { timer, isWish: wish.after_ms !== undefined };
    const retryAt = Date.now() + retryInMs;
    this.#tellState({ state: "waiting", retryInMs, retryAt, code: wish.code, reason: wish.reason });
  }

  #isFinal(code) {
    if (code === TOKEN_EXPIRED) return typeof this.#access !== "function";
    return FINAL.has(code) || (code >= 4400 && code <= 4999);
  }

  /** Let go of the connection; what hangs in it does not matter any more. */
  #drop() {
    const { socket, timer, deadline, access } = this.#link ?? {};
    for (const running of [timer, deadline, access, this.#sending]) clearTimeout(running);
    this.#link = this.#paging = null;
    this.#stands = false;
    this.#behind.clear();
    this.#pending.lost();
    for (const room of this.rooms.values()) room.away();
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.onerror = () => {}; // the package ws throws what nobody takes
    socket.close(1000);
  }

  // Back into the session and its rooms.

  #hear(event) {
    const apply = this.#applied.get(event.type);
    if (apply) apply(event);
    else if (event.id !== undefined) this.#answer(event);
    else if (PASSED.has(event.type)) this.#pass(event);
  }

  #welcomed(welcome) {
    const link = this.#link;
    link.isWelcome = true;
    this.welcome = welcome;
    this.#early = [];
    this.#keepAccess(welcome.valid_ms);
    this.#pace.limit(welcome.limits);
    this.#pending.limit(welcome.limits);
    this.#pending.forgetStale();
    this.#absent = new Set(this.rooms.keys());
    if (!this.#token) return this.#beginAnew();
    const rooms = Object.fromEntries([...this.rooms].map(([name, room]) => [name, room.position]));
    const resuming = this.#pending.ask({ type: "resume", token: this.#token, rooms }, { isOwn: true });
    resuming.catch(() => link === this.#link && this.#beginAnew());
  }

  /** Show a new token before the old one ends. Where it is not to be had, the server will end the connection. */
  #keepAccess(validMs) {
    if (validMs === undefined || typeof this.#access !== "function") return;
    const link = this.#link;
    link.access = setTimeout(() => this.#refresh(link, validMs), Math.min(validMs * REFRESH_AFTER, LONGEST_TIMER_MS));
  }

  async #refresh(link, wasMs) {
    let validMs = Math.max(wasMs * (1 - REFRESH_AFTER), REFRESH_AGAIN_MS);
    try {
      const token = await this.#access();
      if (link === this.#link) validMs = (await this.ask({ type: "refresh", token })).valid_ms;
    } catch {
      // it is tried again
    }
    if (link === this.#link) this.#keepAccess(validMs);
  }

  /** A new session: the server does not know this client's rooms, nor the keys of what it published. */
  #beginAnew() {
    this.#pending.doubt(this.rooms);
    for (const room of this.rooms.values()) this.#behind.add(room);
    this.#connected(this.welcome.client, false);
    for (const joined of this.#early) if (!this.rooms.has(joined.room)) this.#joined(joined);
    this.#goOn();
  }

  #connected(client, resumed) {
    this.client = client;
    this.#stands = true;
    this.#attempts = 0;
    if (!resumed) this.#token = this.#provisional;
    this.#tellState({ state: "catchingup", client, resumed });
  }

  #joined(joined) {
    if (joined.id === undefined && !this.#stands) return void this.#early.push(joined);
    const command = this.#pending.command(joined.id);
    const room = this.rooms.get(joined.room) ?? this.#cameIn(joined, command);
    this.#absent.delete(joined.room);
    room.name = joined.name;
    if (command) room.wanted = command.name;
    if (joined.recovered !== undefined) this.#catchUp(room, joined);
    else if (room.isLive) this.#pass(joined);
    this.#answer(joined);
  }

  #cameIn(joined, command) {
    const room = new Room(joined.room, command?.since ?? joined);
    this.rooms.set(joined.room, room);
    if (command?.since) {
      room.away();
      this.#pass({ ...joined, messages: [] });
    }
    return room;
  }

  #catchUp(room, joined) {
    for (const event of room.page(joined)) {
      if (event.type === "message") this.#pending.saw(event);
      if (event.type === "caughtup") this.#missed += event.messages;
      this.#pass(event);
    }
    if (room.isLive) this.#pending.settle(room.room, room.recovered);
    else this.#behind.add(room);
  }

  #entry(entry) {
    if (entry.type === "message") this.#pending.saw(entry);
    for (const event of this.rooms.get(entry.room)?.entry(entry) ?? []) this.#pass(event);
  }

  #gap(gap) {
    for (const event of this.rooms.get(gap.room)?.gap(gap) ?? []) this.#pass(event);
  }

  #left(left) {
    const room = this.rooms.get(left.room);
    if (room && UNASKED.has(left.reason)) {
      room.isLive = false;
      this.#behind.add(room);
      return;
    }
    if (room) {
      this.#forget(left.room);
      this.#pass(left);
    }
    this.#answer(left);
  }

  #renamed(renamed) {
    const room = this.rooms.get(renamed.room);
    const command = this.#pending.command(renamed.id);
    if (room) Object.assign(room, { name: renamed.name, wanted: command?.name ?? renamed.name });
    this.#answer(renamed);
  }

  #presence(presence) {
    const mine = presence.renamed?.findLast(({ client }) => client === this.client);
    const room = this.rooms.get(presence.room);
    if (mine && room) room.name = mine.name;
    this.#pass(presence);
  }

  #answer(answer) {
    this.#pace.hold(this.#pending.answered(answer, this.#retryMs));
  }

  /** The client is not in `room`, or not any more, and did not ask for it. */
  #out(room, { code, reason, field }) {
    this.#forget(room);
    this.#pass({ type: "error", command: "join", room, code, reason, field });
    this.#pass({ type: "left", room, reason: code });
  }

  #forget(room) {
    this.rooms.delete(room);
    this.#absent.delete(room);
    this.#pending.settle(room, false);
  }

  // What goes out.

  get #isReady() {
    return this.#stands && this.#absent.size === 0;
  }

  /** All that may have become possible. */
  #goOn() {
    this.#page();
    this.#send();
    if (!this.#isReady || this.#paging || this.#behind.size) return;
    clearTimeout(this.#link.deadline);
    if (this.state.state !== "catchingup" || this.#entering) return;
    const { client, resumed } = this.state;
    const missed = this.#missed;
    this.#missed = 0;
    this.#tellState({ state: "online", client, resumed, missed });
  }

  /** Catch up page by page, room by room. */
  #page() {
    if (!this.#stands || this.#paging) return;
    for (const room of this.#behind) {
      this.#behind.delete(room);
      if (this.rooms.get(room.room) === room && !room.isLive) return void this.#askForPage(room);
    }
  }

  async #askForPage(room) {
    const link = this.#link;
    this.#paging = room;
    try {
      const join = { type: "join", room: room.room, name: room.wanted, since: room.position };
      await this.#pending.ask(join, { isOwn: true });
    } catch (refusal) {
      if (link === this.#link) this.#out(room.room, refusal);
    }
    if (link !== this.#link) return;
    this.#paging = null;
    this.#goOn();
  }

  #send() {
    clearTimeout(this.#sending);
    while (this.#link?.isWelcome) {
      const asked = this.#pending.next(this.#isReady);
      if (!asked) return;
      const waitMs = this.#pace.waitMs(asked.command);
      if (waitMs > 0) {
        this.#pending.ebb();
        this.#sending = setTimeout(() => this.#send(), waitMs);
        return;
      }
      this.#pace.spend(asked.command);
      this.#pending.sending(asked);
      if (asked.isOwn) this.#expectAnswer(this.#link);
      this.#link.socket.send(asked.payload);
    }
  }

  #expectAnswer(link) {
    clearTimeout(link.deadline);
    const reason = `no answer within ${ANSWER_MS / 1000} seconds`;
    link.deadline = setTimeout(() => this.#lose(link, ABNORMAL, reason), ANSWER_MS);
  }
}

function address(url) {
  try {
    const where = new URL(url, globalThis.location?.href);
    where.protocol = where.protocol.replace(/^http/, "ws");
    where.hash = "";
    if (/^wss?:$/.test(where.protocol)) return where;
  } catch {
    // the same
  }
  throw new TypeError("url: expected one like wss://HOST/ws");
}

function listed(rooms) {
  return typeof rooms === "string" ? [rooms] : [...rooms];
}

/** The form that the server makes of it; whether it can be one, the server says. */
function roomName(room) {
  return String(room).toLowerCase().normalize("NFC");
}

/** Random; pages that are not served over TLS have no crypto.randomUUID, and Node.js 18 no crypto. */
function newKey() {
  const bytes = Array.from({ length: 16 }, () => Math.random() * 256);
  const random = globalThis.crypto?.getRandomValues(new Uint8Array(16)) ?? bytes;
  return Array.from(random, (byte) => Math.trunc(byte).toString(16).padStart(2, "0")).join("");
}

function encoded(command) {
  try {
    return JSON.stringify(command);
  } catch {
    throw new ChatError("bad_message", "data: expected what JSON can say", { field: "data" });
  }
}

/** What a command costs of the budget. */
function cost({ type, since, user }) {
  return COSTLY.has(type) || since || user ? 10 : 1;
}

function interrupted() {
  return new ChatError("interrupted", UNKNOWN);
}
