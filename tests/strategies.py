"""Messages and events for hypothesis: names as the server lets them in, texts and data as anybody may send them."""

from hypothesis import strategies as st

from aiochat import messages as m
from aiochat.errors import Reply
from aiochat.names import display_name


def _is_display_name(text: str) -> bool:
    try:
        return display_name(text) == text
    except Reply:
        return False


TEXTS = st.text() | st.text(st.sampled_from("ab /:*\t\r\n\0\x1b\x7f\x85\u2028\u202e\ufffd"))
ROOM_NAMES = st.text(st.sampled_from("abcxyz0189äß部_.:-"), max_size=20).map(lambda rest: "r" + rest)
DISPLAY_NAMES = st.text(st.sampled_from("abcXYZ019 äß名-_.*!\u0301"), min_size=1, max_size=32).filter(_is_display_name)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
).filter(lambda data: data is not None)

SENDERS = st.builds(m.Sender, st.from_regex(r"[a-z2-7]{8}", fullmatch=True), st.none() | DISPLAY_NAMES)
MESSAGES = st.builds(
    m.Message, ROOM_NAMES, st.integers(1, 2**53), st.integers(0, 2**53), SENDERS, TEXTS, st.none()
) | st.builds(m.Message, ROOM_NAMES, st.integers(1, 2**53), st.integers(0, 2**53), SENDERS, st.none() | TEXTS, DATA)
PAGES = st.lists(MESSAGES, max_size=3).map(tuple)
COUNTS = st.integers(1, 100_000)
ROOMS = st.lists(st.builds(m.RoomInfo, ROOM_NAMES, COUNTS), min_size=1, max_size=4).map(tuple)

EVENTS = st.one_of(
    MESSAGES,
    st.builds(m.Joined, ROOM_NAMES, st.none() | DISPLAY_NAMES, st.just("epoch"), COUNTS, COUNTS, PAGES),
    st.builds(m.Renamed, ROOM_NAMES, DISPLAY_NAMES),
    st.builds(m.Sent, TEXTS, COUNTS),
    st.builds(m.DirectMessage, ROOM_NAMES, SENDERS, TEXTS),
    st.builds(m.HistoryPage, ROOM_NAMES, st.just("epoch"), PAGES),
    st.builds(m.Members, ROOM_NAMES, COUNTS, st.lists(SENDERS, max_size=4).map(tuple)),
    st.builds(m.RoomList, COUNTS, ROOMS),
    st.builds(m.Error, st.just("bad_name"), TEXTS, st.none() | st.just("publish"), st.none(), st.none() | COUNTS),
    st.just(m.HelpText()),
)
