// The page: it puts the parts together, and gives them what the chat tells. From here one finds everything: `places`
// has the rooms, what happens in one goes into its Room, and timeline, people, whisper and room list show it.

import { connect } from "./aiochat.js";
import { Composer } from "./composer.js";
import { clockTime, counted, part, sentence, setText, visibleName } from "./elements.js";
import { accessToken, Me, Naming, rememberToken } from "./me.js";
import { Sending, spoken } from "./message.js";
import { People } from "./people.js";
import { closeDrawer, RoomList, setUpDrawers } from "./roomlist.js";
import { messageItem, Places } from "./rooms.js";
import { announce, StateLine, Whisper } from "./status.js";
import { completions, Talk } from "./talk.js";
import { Timeline } from "./timeline.js";

const SIGNED_OUT = [4003, 4401];
const chat = connect({ url: document.documentElement.dataset.websocket, token: accessToken() });
const me = new Me();
const places = new Places(chat, me, { leaving, arrived, changed, moved });
const { rooms } = places;
const people = new People(chat);
const whisper = new Whisper();
const stateLine = new StateLine(() => chat.reconnect());
const sending = new Sending(chat, changed, rewrite);
const timeline = new Timeline({
  history: (room, options) => chat.history(room, options),
  isOwn: ({ sender }) => me.is(sender),
  outgoingElement: (sent, known) => sending.element(sent, known),
  emptyElement: (room) => talk.emptyElement(room),
  moved: looked,
});
const composer = new Composer({
  send: (line) => void talk.enter(line),
  typing: () => places.current.isIn && chat.typing(places.current.name),
  complete: (line) => completions(line, { rooms: [...rooms.keys()], people: people.names }),
});
const talk = new Talk(chat, { me, places, sending, timeline, composer, whisper, stateLine, renamed });
const naming = new Naming(chat, { rename: (name) => talk.rename(name), refused });
const roomList = new RoomList({ chat, places, leave: (name) => places.leave(name).catch(refused) });
let wasOnline = false;

// What the chat tells.

chat.on("state", (state) => {
  stateLine.show({ ...state, isBack: wasOnline });
  if (state.state === "waiting") rooms.forEach(leftBehind);
  if (state.state === "catchingup") me.recognise(state.client);
  if (state.state !== "online") return;
  if (wasOnline) void people.show(places.current);
  wasOnline = true;
});

chat.on("joined", (joined) => {
  const room = rooms.get(joined.room) ?? (chat.joined.includes(joined.room) ? places.given(joined.room) : undefined);
  if (!room) return;
  room.enter(joined);
  if (room === places.current) timeline.show(room);
  moved(room);
  if (me.name && !joined.name) talk.rename(me.name).catch(refused); // it was chosen before there was a room
});

chat.on("caughtup", ({ room: name, members }) => {
  const room = rooms.get(name);
  if (!room) return;
  changed(Object.assign(room, { members }));
  if (room === places.current) renamed(); // another may have taken the name meanwhile
});

chat.on("message", (message) => {
  const room = rooms.get(message.room);
  if (!room) return;
  const isOwn = room.outgoing.delete(message.key) || me.is(message.sender);
  const isSeen = isLooking(room);
  const isLive = chat.state.state === "online";
  room.add(messageItem(room.epoch, message), !isOwn && !(isSeen && isLive));
  if (isSeen) room.read();
  else if (!isOwn) room.unread += 1;
  changed(room);
  if (room !== places.current || isOwn) return;
  whisper.said(message.sender);
  if (isLive) announce(spoken(message));
});

chat.on("erased", ({ room: name, target }) => {
  const room = rooms.get(name);
  if (!room) return;
  if (room === places.current) timeline.erase(room.epoch, target);
  room.erase(room.epoch, target);
});

chat.on("gap", ({ room: name, epoch, to }) => {
  const room = rooms.get(name);
  if (!room) return;
  if (epoch !== room.epoch) Object.assign(room, { epoch, begins: 1 });
  places.notice(room, to === undefined ? "The room has begun anew." : "Some messages are missing here.");
});

chat.on("left", ({ room: name, reason }) => {
  const room = rooms.get(name);
  if (room && reason !== undefined) places.out(room, reason);
});

chat.on("presence", (presence) => {
  const room = rooms.get(presence.room);
  if (!room) return;
  room.members = presence.members;
  if (room !== places.current) return;
  people.presence(presence);
  whisper.presence({ ...presence, came: me.others(presence.came), renamed: me.others(presence.renamed) });
});

chat.on("typing", ({ room, senders }) => {
  if (room === places.current.name) whisper.typing(me.others(senders));
});

chat.on("direct", ({ sender, ts, text, data, room: name }) => {
  const room = rooms.get(name) ?? places.current;
  room.add({ kind: "message", message: { sender, ts, text, data }, direct: "to you alone", ts });
  if (!isLooking(room)) room.unread += 1;
  announce(spoken({ sender, text, data }));
  changed(room);
});

chat.on("error", ({ reason, room }) => {
  if (room === undefined) places.notice(places.current, sentence(reason), "error");
});

chat.on("refused", (refusal) => {
  if (SIGNED_OUT.includes(refusal.code)) rememberToken("");
  stateLine.refused(refusal);
});

// What is shown of it.

function changed(room) {
  if (room === places.current) timeline.changed();
  roomList.changed();
}

/** One came into a room, or is out of it. */
function moved(room) {
  roomList.changed();
  if (room !== places.current) return timeline.changed();
  const reason = room.outReason && `You are not in this room: ${room.outReason}`;
  if (chat.state.state !== "closed") stateLine.alert(reason, "Join again", () => places.join(room));
  void people.show(room);
  naming.show(room.name);
}

function leaving(room) {
  room.draft = composer.text;
  leftBehind(room);
}

function arrived(room) {
  part("title").textContent = part("title").title = visibleName(room.name);
  composer.text = room.draft;
  whisper.clear();
  timeline.show(room);
  moved(room);
  closeDrawer();
  composer.focus();
}

function renamed() {
  naming.show(places.current.name);
  people.changed();
}

/** What was asked for by a button cannot be done. */
function refused(error) {
  places.notice(places.current, sentence(error.reason ?? error.message), "error");
}

/** Put back into the field what cannot be sent as it is. */
function rewrite(text) {
  composer.text ||= text;
}

function isLooking(room) {
  return room === places.current && timeline.isStuck && document.visibilityState === "visible";
}

/** The timeline has moved: at its end, all was looked at. */
function looked() {
  const { current } = places;
  if (isLooking(current)) {
    const wasUnread = current.unread;
    current.read();
    if (wasUnread) roomList.changed();
  }
  const newest = part("newest");
  newest.hidden = timeline.isStuck;
  setText(newest, current.unread ? `${counted(current.unread, "new message")} ↓` : "Newest messages ↓");
}

/** Nobody looks at the room any more: what comes now is new, unless something else is already. */
function leftBehind(room) {
  const isCurrent = room === places.current;
  if (room.unread || (isCurrent && !timeline.isStuck)) return;
  room.clearNew();
  if (isCurrent) timeline.clearNew();
}

setUpDrawers();
part("share").onclick = () => talk.share();
part("newest").onclick = () => {
  timeline.toEnd();
  composer.focus();
};
part("skip").onclick = (event) => {
  event.preventDefault(); // the address is the room's
  part("line").focus();
};
part("timeline").addEventListener("keydown", ({ key }) => key === "Escape" && part("line").focus());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") return looked();
  leftBehind(places.current);
  places.remember();
});
addEventListener("pagehide", () => {
  places.remember();
  chat.close(); // so that the name is free at once, for a reload
});
addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
places.begin();
setTimeout(() => clockTime(Date.now())); // the first one takes long, and the answer is not there yet
