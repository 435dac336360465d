"""The tests' own checker finds what it is there to find."""

from typing import Any

import pytest

from tests.ledger import Holding, Ledger

KEPT = [("one", 1), ("two", 2), ("three", 3)]


def _message(text: str, offset: int) -> dict[str, Any]:
    return {"type": "message", "room": "lobby", "offset": offset, "text": text}


def _joined(offset: int, *messages: tuple[str, int], **fields: Any) -> dict[str, Any]:
    listed = [_message(*each) for each in messages]
    return {"type": "joined", "room": "lobby", "epoch": "e", "offset": offset, "messages": listed, **fields}


def _found(ledger: Ledger, log: list[tuple[str, int]], epoch: str = "e") -> list[str]:
    """What is wrong in the end."""
    return ledger.noted + ledger.problems("lobby", epoch, [_message(*each) for each in log])


@pytest.fixture
def ledger() -> Ledger:
    """Three messages were said and acknowledged."""
    ledger = Ledger(now=iter(range(1, 100)).__next__)
    for text, offset in KEPT:
        ledger.says("lobby", text)
        ledger.acked(text, offset)
    return ledger


@pytest.fixture
def alice(ledger: Ledger) -> Holding:
    """Who came in after the first."""
    alice = ledger.holding("alice", "lobby")
    alice.hear(_joined(1, ("one", 1)))
    return alice


def test_what_is_as_promised_is_no_problem(ledger: Ledger, alice: Holding) -> None:
    """All of it was heard, in order, also over a break."""
    alice.hear(_message("two", 2))
    alice.hear(_joined(3, ("three", 3), recovered=True, more=False))
    assert _found(ledger, KEPT) == ledger.gaps == []


@pytest.mark.parametrize(
    "log",
    [
        pytest.param([("one", 1), ("two", 2)], id="an acknowledged message is missing"),
        pytest.param([*KEPT, ("two", 4)], id="one is there twice"),
        pytest.param([*KEPT, ("four", 4)], id="one that nobody has said"),
        pytest.param([("one", 1), ("three", 2), ("two", 3)], id="at other offsets"),
        pytest.param([("two", 2), ("three", 3)], id="its beginning is missing"),
    ],
)
def test_a_log_that_is_not_as_promised_is_found(ledger: Ledger, log: list[tuple[str, int]]) -> None:
    """Whoever heard it or not."""
    assert _found(ledger, log)


@pytest.mark.parametrize(
    "heard",
    [
        pytest.param([("two", 2)], id="the end is missing"),
        pytest.param([("three", 3)], id="a hole"),
        pytest.param([("two", 2), ("two", 2), ("three", 3)], id="twice"),
        pytest.param([("three", 2), ("two", 3)], id="in another order"),
    ],
)
def test_a_subscriber_who_does_not_hold_the_log_is_found(
    ledger: Ledger, alice: Holding, heard: list[tuple[str, int]]
) -> None:
    """Without having been told of a gap."""
    for each in heard:
        alice.hear(_message(*each))
    assert _found(ledger, KEPT)


def test_a_page_that_ends_too_early_is_found(ledger: Ledger, alice: Holding) -> None:
    """It says where the room stands."""
    alice.hear(_joined(3, ("two", 2), recovered=True, more=False))
    assert ledger.noted


def test_what_was_sent_before_a_loss_need_not_be_there(ledger: Ledger) -> None:
    """What was sent after it must."""
    ledger.loses()
    assert _found(ledger, []) == []
    ledger.says("lobby", "four")
    ledger.acked("four", 1)
    assert _found(ledger, [])


def test_who_was_not_told_that_all_is_lost_is_found(ledger: Ledger, alice: Holding) -> None:
    """A gap with the new epoch settles it."""
    ledger.loses(is_all=True)
    assert _found(ledger, [], epoch="f")
    alice.hear({"type": "gap", "room": "lobby", "epoch": "f", "offset": 0})
    assert _found(ledger, [], epoch="f") == []
    assert len(ledger.gaps) == 1


def test_a_new_epoch_without_a_gap_is_found(ledger: Ledger, alice: Holding) -> None:
    """In the answer to who comes back."""
    alice.hear({**_joined(1, ("one", 1), recovered=False, more=False), "epoch": "f"})
    assert ledger.noted
