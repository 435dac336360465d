"""docs/scaling.md and the script that its numbers are from."""

from pathlib import Path

import pytest

from benchmarks.scaling import Assumed, fullest, main, needed

DOCUMENT = Path(__file__).parent.parent.joinpath("docs", "scaling.md")


def test_the_document_shows_what_the_script_says(capsys: pytest.CaptureFixture[str]) -> None:
    """With its defaults."""
    main([])
    assert f"$ .venv/bin/python -m benchmarks.scaling\n{capsys.readouterr().out}```" in DOCUMENT.read_text("utf-8")


def test_one_room_on_one_node_is_what_one_reckons_by_hand() -> None:
    """Sixty clients who write a message a minute are one message a second, and sixty deliveries."""
    assumed = Assumed(rooms_per_client=1, clients_per_room=60, connects_per_hour=0)
    found = needed(60, assumed)
    assert (found.rooms, found.largest_room, found.messages, found.deliveries) == pytest.approx((1, 60, 1, 60))
    assert (found.heard, found.nodes) == pytest.approx((1, 1))
    assert found.cores * 1e6 == pytest.approx(60 * assumed.delivery_us + assumed.message_us)
    assert found.redis_cores * 1e6 == pytest.approx(assumed.redis_us + assumed.redis_heard_us)


def test_what_one_redis_is_enough_for_is_its_limit() -> None:
    """A hundredth more and it is over what it may use."""
    assumed = Assumed(redis_us=50)
    most = fullest(assumed)
    assert needed(most, assumed).redis_cores <= assumed.full < needed(most * 1.02, assumed).redis_cores
