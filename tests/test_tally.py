"""What happens a thousand times is a few lines in the log."""

import pytest
from structlog.testing import capture_logs

from aiochat.monitoring.tally import Tally
from tests.raw import until


async def test_a_flood_is_a_few_lines_and_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each kind so many as it says; then how many more there were, once, and it begins anew."""
    monkeypatch.setattr("aiochat.monitoring.tally._SECONDS", 0.0)
    tally = Tally()
    with capture_logs() as logged:
        for number in range(1000):
            tally.info("refused", "banned", number=number)
            tally.info("limited", "bytes", lines=1)
        tally.info("refused", "draining")
        await until(lambda: len(logged) == 9)
        tally.info("limited", "bytes", lines=1)
    events = [(line["event"], line.get("of"), line.get("count")) for line in logged]
    assert events == [
        *[("refused", None, None), ("limited", None, None), *[("refused", None, None)] * 5],
        *[("more_of_the_same", "refused", 995), ("more_of_the_same", "limited", 999), ("limited", None, None)],
    ]
