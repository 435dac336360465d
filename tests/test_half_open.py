"""A peer whose process is stopped: its kernel acknowledges, it never answers."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.raw import needs_proc
from tests.servers import running, talking

pytestmark = needs_proc

_PEER = """
import asyncio, sys
from tests.servers import talking

async def stay():
    async with talking(sys.argv[1]) as talker:
        print(await talker.hear(), flush=True)
        await talker.socket.receive()

asyncio.run(stay())
"""


async def test_a_stopped_process_is_called_silent_and_its_room_sees_it_gone(uvloop: bool) -> None:
    """With pings every 0.4 s and 0.4 s to answer it is closed with 4001, and no longer in /who."""
    settings = {"keepalive.ping_interval_seconds": 0.4, "keepalive.pong_timeout_seconds": 0.4}
    async with running(settings=settings, uvloop=uvloop) as server:
        peer = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _PEER, server.ws_url + "?name=stopped"),
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert peer.stdout is not None
            assert b"as stopped" in await peer.stdout.readline()
            async with talking(server.ws_url + "?name=mate") as mate:
                await mate.hear()
                peer.send_signal(signal.SIGSTOP)
                hearing = asyncio.create_task(mate.hear())  # answers the pings meanwhile
                await server.logged("connection_closed", code=4001)
                await mate.say("/who")
                assert await hearing == "* 1 in lobby: mate"
        finally:
            peer.kill()
            await peer.wait()
