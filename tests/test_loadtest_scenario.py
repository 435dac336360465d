"""A scenario is a small file; whatever is wrong in it is one line that says what to change."""

from pathlib import Path

import pytest

from aiochat.loadtest.scenario import FIRST, MOST, CannotRun, Scenario, content, load, names, override

SHIPPED = {"chat", "broadcast", "saturate", "pairs", "idle", "storm", "slow", "churn"}


def refusal(name: str, *overrides: str) -> str:
    """The line that says why not."""
    with pytest.raises(CannotRun) as caught:
        load(name, dict(map(override, overrides)))
    return str(caught.value)


def test_the_four_that_one_should_know_come_first() -> None:
    """All eight are there, and each has a title to choose by."""
    assert tuple(names()[:4]) == FIRST
    assert set(names()) == SHIPPED
    assert all(load(name, {}).title for name in names())


def test_chat_shows_every_key_with_a_comment() -> None:
    """It is the file that people copy: no key is missing in it, and each says what it is for."""
    text = (Path(__file__).parent.parent / "config" / "loadtest" / "chat.toml").read_text(encoding="utf-8")
    for key in Scenario.__struct_fields__:
        assert f"\n{key} = " in text
    assert [line for line in text.splitlines() if " = " in line and line[0] not in "# t" and "#" not in line] == [
        "rooms = ["
    ]


def test_a_file_of_ones_own_is_taken_with_what_is_set_over_it(tmp_path: Path) -> None:
    """--set wins over the file, and the file over the defaults."""
    file = tmp_path / "mine.toml"
    file.write_text('title = "Mine"\nrate = 5\nsize = 50\n')
    mine = load(str(file), dict(map(override, ("size=60", "codec=text", "clients = 7"))))
    assert (mine.title, mine.rate, mine.size, mine.codec, mine.clients) == ("Mine", 5.0, 60, "text", 7)
    assert content(mine)["size"] == 60


def test_most_stays_a_word_until_the_limits_are_known() -> None:
    """So that two records of `idle` are of the same scenario."""
    idle = load("idle", {})
    assert idle.clients == MOST
    assert content(idle)["clients"] == "most"


@pytest.mark.parametrize("clients", [1, 3, 999, 1000, 5000])
def test_every_client_has_a_room(clients: int) -> None:
    """However few clients there are for the shares."""
    sizes = load("chat", {"clients": clients}).room_sizes()
    assert sum(sizes) == clients
    assert min(sizes) >= 1


def test_shares_become_rooms() -> None:
    """5,000 clients: 5 rooms of 200, 20 of 50, 100 of 20, 200 of 5."""
    sizes = load("chat", {"clients": 5000}).room_sizes()
    assert {size: sizes.count(size) for size in set(sizes)} == {200: 5, 50: 20, 20: 100, 5: 200}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("clints=5", "--set: there is no key 'clints'; did you mean 'clients'?"),
        ("zzz=5", "--set: there is no key 'zzz'; there are title, clients, rooms, "),
        ("clients=0", '--set: clients is 0; it takes a whole number above 0, or "most"'),
        ("clients=many", "--set: clients is 'many'; it takes a whole number above 0"),
        ("clients=true", "--set: clients is True; it takes a whole number above 0"),
        ("rate=nan", "--set: rate is nan; it takes a number, 0 or more"),
        ("rate=-1", "--set: rate is -1; it takes a number, 0 or more"),
        ("size=28", "--set: size is 28; it takes "),
        ("seconds=0", "--set: seconds is 0; it takes a number of seconds above 0"),
        ("codec=msgpack", '--set: codec is \'msgpack\'; it takes "json", "text" or "socketio"'),
        ("rooms=[{size=0}]", "--set: rooms is [{'size': 0}]; it takes a list such as [{ size = 200"),
        ("rooms=[{size=5, share=0.5}]", "the shares of rooms add up to 0.5; they must to 1"),
        ("window=3", "rate (open loop) and window (closed loop) exclude each other: set one to 0"),
        ("senders=0", "rate and window need senders, and senders is 0"),
        ("senders=1001", "senders and slow together (1001) are more than clients (1000)"),
        ("codec=text", 'typing_per_second needs codec = "json"; codec is "text"'),
        ("rate", "--set 'rate': it takes KEY=VALUE, such as rate=500"),
    ],
)
def test_what_makes_no_sense_is_one_line(given: str, says: str) -> None:
    """It names the key, what it got, and what it takes."""
    assert refusal("chat", given).startswith(says)


def test_newcomers_need_sender_numbers() -> None:
    """A line has four digits for its sender, and newcomers have the numbers that clients leave."""
    assert load("churn", {"clients": 64_512}).most_clients == 64_512
    line = refusal("churn", "clients=64513")
    assert line == "clients is 64513; with newcomers, who need sender numbers, 64512 at most"
    assert load("broadcast", {"clients": 70_000}).clients == 70_000


def test_senders_without_a_rate_are_refused() -> None:
    """Nothing says how much they send."""
    assert refusal("idle", "senders=5") == "senders is 5, and neither rate nor window says how much they send"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("strom", "there is no scenario 'strom'; did you mean 'storm'?"),
        ("../chat", "there is no scenario '../chat'; did you mean 'chat'?"),
        ("nowhere/mine.toml", "'nowhere/mine.toml' cannot be read: No such file or directory"),
    ],
)
def test_a_scenario_that_is_not_there_is_one_line(name: str, says: str) -> None:
    """With the nearest one."""
    assert refusal(name).startswith(says)


@pytest.mark.parametrize("text", [b"clients = ", b"\xff\xfe", b"clints = 5"])
def test_a_bad_file_is_one_line_that_names_it(tmp_path: Path, text: bytes) -> None:
    """No TOML, no UTF-8, or an unknown key."""
    file = tmp_path / "mine.toml"
    file.write_bytes(text)
    line = refusal(str(file))
    assert "mine.toml" in line
    assert "\n" not in line
