"""A hundred who chat, beside ten who mean harm, each in its own way (tests/attackers.py)."""

import asyncio
from collections import defaultdict

import pytest

from tests.attackers import besieging
from tests.raw import MIB, Raw, joined, need_descriptors, needs_proc, until
from tests.servers import running

pytestmark = [needs_proc, pytest.mark.faults, pytest.mark.timeout(180)]

_NORMAL = 100
_LINES = 15  # of each of them, one a second
_HTTP = 1_200  # limits.max_http_connections
_ACCEPTED = 2 * 1_024  # and no protocol's yet: asyncio takes a whole backlog at a time


async def _chat(client: Raw, number: int) -> None:
    for line in range(_LINES):
        await client.say(f"normal {number} {line}")
        await asyncio.sleep(1)  # it is their pace


async def _hear(client: Raw) -> dict[str, list[int]]:
    """What each of the others said, in the order in which it came; the attackers' lines are passed over."""
    heard: defaultdict[str, list[int]] = defaultdict(list)
    while sum(map(len, heard.values())) < _NORMAL * _LINES:
        kind, *words = (await client.hear()).split()
        if kind == "normal":
            heard[words[0]].append(int(words[1]))
    return heard


async def test_a_hundred_chat_on_beside_ten_attackers(uvloop: bool) -> None:
    """Each hears everything, in order; memory grows by less than 32 MB, or 48 on asyncio's own loop, which takes
    a whole backlog of connections at a time; sockets that say nothing stay bounded.
    """
    need_descriptors(6_000)
    async with running(uvloop=uvloop) as server, joined(server, ["/ws/square"] * _NORMAL) as clients:
        descriptors, memory = server.descriptors(), server.rss_bytes()
        async with besieging(server.port, "square") as siege:
            hearing = [asyncio.create_task(_hear(client)) for client in clients]
            await siege.under_way()
            await asyncio.gather(*(_chat(client, number) for number, client in enumerate(clients)))
            for heard in await asyncio.gather(*hearing):
                assert heard == {str(number): list(range(_LINES)) for number in range(_NORMAL)}
            assert server.rss_bytes() - memory < (32 if uvloop else 48) * MIB
            assert server.descriptors() - descriptors < _HTTP + _ACCEPTED + 100
        await until(lambda: server.descriptors() <= descriptors)
        assert len(server.log) < 20_000
        assert {line["event"] for line in server.log} >= {"limit_reached", "more_of_the_same"}
