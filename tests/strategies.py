"""Commands and events for hypothesis: names as the server lets them in, texts and data as anybody may send them."""

from typing import Any, Final

from hypothesis import strategies as st

from aiochat import messages as m
from aiochat.errors import Reply
from aiochat.names import display_name

LARGEST: Final = m.MAX_INTEGER


def _is_display_name(text: str) -> bool:
    try:
        return display_name(text) == text
    except Reply:
        return False


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What may be absent."""
    return st.none() | values


def up_to(size: int, values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    """A tuple of a few."""
    return st.lists(values, max_size=size).map(tuple)


TEXTS = st.text() | st.text(st.sampled_from("ab /:*\t\r\n\0\x1b\x7f\x85\u2028\u202e\u2066\u2069\ufffd"))
ROOM_NAMES = st.text(st.sampled_from("abcxyz0189äß部_.:-"), max_size=20).map(lambda rest: "r" + rest)
DISPLAY_NAMES = st.text(st.sampled_from("abcXYZ019 äß名-_.*!\u0301"), min_size=1, max_size=32).filter(_is_display_name)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
).filter(lambda data: data is not None)

IDS = maybe(st.text(max_size=64) | st.integers(-LARGEST, LARGEST))
COUNTS = st.integers(0, LARGEST)
LIMITS = maybe(st.integers(0, 300))
KEYS = maybe(st.text(min_size=8, max_size=64))
CLIENT_IDS = st.from_regex(r"[a-z2-7]{8}", fullmatch=True)
POSITIONS = st.builds(m.Position, TEXTS, COUNTS)
SENDERS = st.builds(m.Sender, maybe(CLIENT_IDS), maybe(DISPLAY_NAMES), maybe(TEXTS))

COMMANDS: Final[dict[type[m.Command], st.SearchStrategy[Any]]] = {
    m.Join: st.builds(m.Join, id=IDS, room=TEXTS, name=maybe(TEXTS), since=maybe(POSITIONS), limit=LIMITS),
    m.Leave: st.builds(m.Leave, id=IDS, room=TEXTS),
    m.Publish: st.builds(m.Publish, id=IDS, room=TEXTS, text=maybe(TEXTS), data=maybe(DATA), key=KEYS),
    m.Resume: st.builds(m.Resume, id=IDS, token=TEXTS, rooms=st.dictionaries(TEXTS, POSITIONS, max_size=3)),
    m.Refresh: st.builds(m.Refresh, id=IDS, token=TEXTS),
    m.Direct: st.builds(
        m.Direct, id=IDS, client=maybe(TEXTS), user=maybe(TEXTS), name=maybe(TEXTS), room=maybe(TEXTS),
        text=maybe(TEXTS), data=maybe(DATA),
    ),
    m.Typing: st.builds(m.Typing, id=IDS, room=TEXTS),
    m.History: st.builds(
        m.History, id=IDS, room=TEXTS, before=maybe(COUNTS), after=maybe(COUNTS), epoch=maybe(TEXTS), limit=LIMITS
    ),
    m.Who: st.builds(m.Who, id=IDS, room=TEXTS),
    m.Rooms: st.builds(m.Rooms, id=IDS),
    m.Rename: st.builds(m.Rename, id=IDS, room=TEXTS, name=TEXTS),
    m.Call: st.builds(m.Call, id=IDS, method=TEXTS, data=maybe(DATA)),
    m.Ping: st.builds(m.Ping, id=IDS),
}  # fmt: skip
ANY_COMMAND = st.one_of(*COMMANDS.values())

_AT = {"room": ROOM_NAMES, "offset": COUNTS, "ts": COUNTS}
SAID = st.builds(m.Message, **_AT, sender=maybe(SENDERS), text=TEXTS, data=maybe(DATA), key=KEYS)
MESSAGES = (
    SAID
    | st.builds(m.Message, **_AT, sender=maybe(SENDERS), text=st.none(), data=DATA, key=KEYS)
    | st.builds(m.Message, **_AT, erased=st.just(True))
)
ENTRIES = MESSAGES | st.builds(m.Erased, **_AT, target=COUNTS)
PAGES = up_to(3, ENTRIES)
SENDER_LISTS = up_to(4, SENDERS)
RENAMINGS = st.builds(m.Renaming, maybe(CLIENT_IDS), DISPLAY_NAMES, DISPLAY_NAMES, maybe(TEXTS))
FLAGS = maybe(st.booleans())

EVENTS: Final[dict[type[m.Event], st.SearchStrategy[Any]]] = {
    m.Welcome: st.builds(
        m.Welcome, protocol=st.just(1), features=up_to(3, TEXTS), client=CLIENT_IDS, user=maybe(TEXTS), server=TEXTS,
        ping_interval_ms=COUNTS, limits=st.builds(m.Limits, COUNTS, COUNTS, FLOATS, COUNTS, COUNTS, COUNTS, COUNTS),
    ),
    m.Session: st.builds(m.Session, TEXTS, COUNTS),
    m.Joined: st.builds(
        m.Joined, id=IDS, room=ROOM_NAMES, name=maybe(DISPLAY_NAMES), epoch=TEXTS, offset=COUNTS, members=COUNTS,
        messages=PAGES, recovered=FLAGS, more=FLAGS,
    ),
    m.Left: st.builds(m.Left, id=IDS, room=ROOM_NAMES, reason=maybe(TEXTS)),
    m.Message: MESSAGES,
    m.Erased: st.builds(m.Erased, **_AT, target=COUNTS),
    m.Ack: st.builds(m.Ack, id=IDS, **_AT, key=KEYS, repeated=st.booleans()),
    m.Resumed: st.builds(m.Resumed, id=IDS, client=CLIENT_IDS),
    m.Refreshed: st.builds(m.Refreshed, id=IDS, expires=COUNTS),
    m.Sent: st.builds(m.Sent, id=IDS, connections=COUNTS, name=maybe(DISPLAY_NAMES)),
    m.DirectMessage: st.builds(
        m.DirectMessage, sender=SENDERS, ts=COUNTS, room=maybe(ROOM_NAMES), text=maybe(TEXTS), data=maybe(DATA)
    ),
    m.HistoryPage: st.builds(
        m.HistoryPage, id=IDS, room=ROOM_NAMES, epoch=TEXTS, messages=PAGES, more=st.booleans()
    ),
    m.Members: st.builds(m.Members, id=IDS, room=ROOM_NAMES, count=COUNTS, members=SENDER_LISTS),
    m.RoomList: st.builds(
        m.RoomList, id=IDS, count=COUNTS, rooms=up_to(4, st.builds(m.RoomInfo, ROOM_NAMES, COUNTS))
    ),
    m.Renamed: st.builds(m.Renamed, id=IDS, room=ROOM_NAMES, name=DISPLAY_NAMES),
    m.Result: st.builds(m.Result, id=IDS, data=maybe(DATA)),
    m.Pong: st.builds(m.Pong, id=IDS),
    m.Presence: st.builds(
        m.Presence, room=ROOM_NAMES, members=COUNTS, came=SENDER_LISTS, went=SENDER_LISTS, renamed=up_to(3, RENAMINGS)
    ),
    m.TypingNow: st.builds(m.TypingNow, room=ROOM_NAMES, senders=SENDER_LISTS),
    m.Gap: st.builds(
        m.Gap, room=ROOM_NAMES, epoch=TEXTS, from_=maybe(COUNTS), to=maybe(COUNTS), offset=maybe(COUNTS)
    ),
    m.Error: st.builds(
        m.Error, id=IDS, command=maybe(st.just("publish")), code=TEXTS, field=maybe(TEXTS), reason=TEXTS,
        retry_after_ms=maybe(COUNTS),
    ),
    m.Goodbye: st.builds(
        m.Goodbye, code=st.integers(1000, 4999), reason=TEXTS, reconnect=FLAGS, after_ms=maybe(COUNTS)
    ),
}  # fmt: skip
ANY_EVENT = st.one_of(*EVENTS.values())
