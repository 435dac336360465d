"""Who may into Redis, and who says where it is: users, passwords, Sentinels; what is shown of a URL that holds them."""

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import pytest

from aiochat.config import as_toml, load
from aiochat.errors import ConfigError, StartError
from aiochat.roomlog.engines import make_log
from aiochat.roomlog.urls import address_of, shown
from tests import redis_server
from tests.programs import program
from tests.redis_server import RedisServer
from tests.roomlogs import config_of, opened, said
from tests.servers import free_port, running

PASSWORD: Final = "hunter2/and:more"
QUOTED: Final = "hunter2%2Fand%3Amore"
FOR_SENTINEL: Final = "swordfish+and=more"
MAY: Final = ("~aiochat:*", "&aiochat:*", "+@all", "-@dangerous", "+info")  # as docs/operations.md has it


@contextmanager
def _guarded(*lines: str) -> Iterator[tuple[RedisServer, int]]:
    """A master with a password, and the port of a Sentinel with another one, to which these lines are said."""
    port, watching = free_port(), free_port()
    options = ("--port", str(port), "--bind", "127.0.0.1", "--requirepass", PASSWORD)
    with ExitStack() as stack:
        master = stack.enter_context(redis_server.running(*options))
        knows = (f"sentinel auth-pass main {PASSWORD}", *lines)
        stack.enter_context(redis_server.sentinel(watching, port, *knows))
        yield master, watching


@contextmanager
def _silent() -> Iterator[int]:
    """The port of somebody who takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


async def _refusal(url: str) -> str:
    with pytest.raises(StartError) as refused:
        await make_log(config_of(url, wait_seconds=1)).open(lambda _: None)
    return str(refused.value)


async def test_a_user_of_redis_needs_no_more_than_is_said() -> None:
    """Publishing, reading, deleting and what the servers keep; the port, TLS and the Sentinels aside."""
    with redis_server.running() as server:
        server.ask.execute_command("ACL", "SETUSER", "chat", "on", f">{PASSWORD}", *MAY)
        server.ask.execute_command("ACL", "SETUSER", "default", "off")
        settings = {"store.url": f"unix://chat:{QUOTED}@{server.path}"}
        async with running(settings=settings) as first, running(settings=settings) as second:
            async with program(first, "lobby") as alice, program(second, "lobby") as bob:
                await alice.ask("publish", room="lobby", text="hello", key="key-00001")
                assert await bob.texts(1) == ["hello"]
                assert (await bob.ask("who", room="lobby"))["count"] == 2
                assert (await bob.ask("rooms"))["type"] == "rooms"
            assert await first.stop(signal.SIGTERM) == 0
            for server_ in (first, second):
                assert not [line for line in server_.log if line["event"] in {"redis_refused", "redis_lost"}]
                assert "hunter2" not in "".join(server_._lines)


@pytest.mark.faults
async def test_sentinels_and_the_master_have_passwords_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Both are given; a Sentinel that does nothing is not waited for; no password stands in the log."""
    with _guarded(f"requirepass {FOR_SENTINEL}") as (master, watching), _silent() as silent:
        hosts = f"127.0.0.1:{silent},127.0.0.1:{watching}"
        url = f"redis+sentinel://:{QUOTED}@{hosts}/main?sentinel_password={FOR_SENTINEL}"
        async with opened(url, wait_seconds=2) as log:
            await log.append("lobby", "one")
            master.stop()
            master.start()
            await log.append("lobby", "two")
            assert said(await log.read("lobby")) == [(1, "two")]
    noise = "".join(capsys.readouterr())
    assert ("hunter2" in noise, "swordfish" in noise) == (False, False)


@pytest.mark.faults
async def test_a_sentinel_has_users(capsys: pytest.CaptureFixture[str]) -> None:
    """By name and password, as the master may have."""
    user = f"user chat on >{FOR_SENTINEL} +auth +sentinel|master"
    with _guarded(user, "user default off") as (_, watching):
        url = f"redis+sentinel://default:{QUOTED}@127.0.0.1:{watching}/main"
        async with opened(f"{url}?sentinel_username=chat&sentinel_password={FOR_SENTINEL}") as log:
            assert said(await log.append("lobby", "one")) == [(1, "one")]
    assert "swordfish" not in "".join(capsys.readouterr())


@pytest.mark.faults
@pytest.mark.parametrize(
    ("login", "name", "query", "reason"),
    [
        ("", "main", "", "Authentication required"),
        (":wrong@", "main", f"?sentinel_password={FOR_SENTINEL}", "invalid username-password pair"),
        (f":{QUOTED}@", "main", "?sentinel_password=wrong", "invalid username-password pair"),
        (f":{QUOTED}@", "other", f"?sentinel_password={FOR_SENTINEL}", "No such master with that name"),
    ],
    ids=["none", "the master's", "the Sentinel's", "the name"],
)
async def test_what_a_sentinel_or_its_master_refuses_ends_the_start(
    capsys: pytest.CaptureFixture[str], login: str, name: str, query: str, reason: str
) -> None:
    """With one line, which has the reason and no password."""
    with _guarded(f"requirepass {FOR_SENTINEL}") as (_, watching):
        line = await _refusal(f"redis+sentinel://{login}127.0.0.1:{watching}/{name}{query}")
    assert line.startswith(f"store.url: Redis at 127.0.0.1:{watching}/{name} cannot be used: ")
    assert (reason in line, "\n" in line) == (True, False)
    noise = line + "".join(capsys.readouterr())
    assert not [secret for secret in ("hunter2", "swordfish", "wrong") if secret in noise]


# What is shown of it.


@pytest.mark.parametrize(
    ("url", "what_is_shown"),
    [
        ("redis://alice:hunter2@host:1/2", "redis://***@host:1/2"),
        ("redis://:hunter2/@host", "redis://***@host"),
        ("redis://:hunter2@hunter2@host", "redis://***@host"),
        ("redis://:hunter2?x=hunter2@host", "redis://***"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
        (
            "rediss+sentinel://:hunter2@a,b/main?sentinel_password=hunter2&ssl_ca_certs=/ca.pem&sentinel_pasword=hunter2",
            "rediss+sentinel://***@a,b/main?sentinel_password=***&ssl_ca_certs=/ca.pem&sentinel_pasword=***",
        ),
        ("redis+sentinel://a/main?sentinel_password=hunter2@hunter2", "redis+sentinel://***"),
    ],
)
def test_no_password_of_a_url_is_shown(url: str, what_is_shown: str) -> None:
    """Where it is all the same; also by `aiochat config`, and where the setting is of the wrong kind."""
    assert shown(url) == what_is_shown
    assert f'url = "{what_is_shown}"' in as_toml(load(flags={"store": {"url": url}}))
    for wrong in ({"store": url}, {"store": {"url": [url]}}):
        with pytest.raises(ConfigError) as refused:
            load(flags=wrong)
        assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "query",
    [
        *("?sentinel_password=hunter2", "?ssl_ca_certs=/ca.pem", "?sentinel_password=", "?db=1"),
        *("?ssl_ca_certs=/a&ssl_ca_certs=/b", "?ssl_keyfile=/key", "?ssl_cert_reqs=none", "?password=hunter2"),
    ],
)
def test_a_part_of_a_url_that_means_nothing_there_is_refused(query: str) -> None:
    """Of TLS without TLS, of Sentinels without them, twice, empty, a key without its certificate, or unknown."""
    scheme = "redis" if "ca_certs=/ca" in query else "rediss"
    with pytest.raises(ConfigError) as refused:
        make_log(config_of(f"{scheme}://host{query}"))
    assert str(refused.value).startswith("store.url: got ")
    assert "hunter2" not in str(refused.value)


def test_what_stands_in_a_url_is_taken_as_it_was_meant() -> None:
    """Escaped where it has to be, in the query as before the host; a plus is a plus."""
    login = "rediss+sentinel://ali%40ce:p%2Fw+1@a:1,[::1]/main/3"
    address = address_of(f"{login}?sentinel_username=bob&sentinel_password=p%26w+1&ssl_ca_certs=/a%20b.pem")
    assert (address.username, address.password, address.database) == ("ali@ce", "p/w+1", 3)
    assert (address.sentinel_username, address.sentinel_password) == ("bob", "p&w+1")
    assert (address.hosts, address.master, address.is_tls) == ((("a", 1), ("::1", 26379)), "main", True)
    assert address.tls_files == {"ssl_ca_certs": "/a b.pem"}
