"""Keys that an identity provider publishes: fetched when needed, kept while it is away, and within bounds."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from aiochat.auth.keys import FRESH_SECONDS, RETRY_SECONDS, STALE_SECONDS, KeySet
from aiochat.errors import Reply
from tests.minted import Provider, jwk, minted, private_key, provider, tokens

ALGORITHMS = ("RS256", "ES256", "EdDSA")


class Clock:
    """Seconds that go by when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """At zero."""
    return Clock()


@pytest.fixture
async def published() -> AsyncIterator[Provider]:
    """A provider of one key, `one`."""
    async with provider(jwk("RS256", kid="one")) as publishing:
        yield publishing


async def code(keys: KeySet, id: str | None) -> str:
    """What somebody with a token that names this key is told; `found` if nothing is wrong."""
    try:
        await keys.find(id)
    except Reply as reply:
        return reply.code
    return "found"


async def settled(keys: KeySet) -> None:
    """No fetch is under way."""
    if keys._fetching is not None:
        await asyncio.wait([keys._fetching])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_token_is_checked_with_the_key_that_it_names(algorithm: str) -> None:
    """Whatever kind it is; one that names none is fine where there is but one."""
    async with provider(jwk(algorithm, kid="one"), {"kty": "new kind"}) as published:
        checked = tokens(token_jwks_url=published.url, token_algorithms=ALGORITHMS)
        for named in ({"kid": "one"}, {}):
            token = minted(key=private_key(algorithm), algorithm=algorithm, **named)
            assert (await checked.identity_of(token)).user == "alice"
        with pytest.raises(Reply, match="signature"):
            await checked.identity_of(minted(key=private_key(f"{algorithm} 2"), algorithm=algorithm, kid="one"))
        assert published.asked == 1


async def test_a_new_key_is_fetched_when_a_token_names_it(published: Provider, clock: Clock) -> None:
    """At most every so often, whoever shows what; one that is withdrawn is no good any more."""
    keys = KeySet(published.url, ALGORITHMS, clock)
    assert await code(keys, "one") == "found"
    published.keys = [jwk("RS256 2", kid="two")]
    assert [await code(keys, "two") for _ in range(20)] == ["unauthorized"] * 20
    assert published.asked == 1
    clock.now += RETRY_SECONDS
    assert await code(keys, "two") == "found"
    assert await code(keys, "one") == "unauthorized"
    assert published.asked == 2


async def test_who_comes_at_once_waits_for_one_fetch(published: Provider, clock: Clock) -> None:
    """A hundred connects are one request."""
    keys = KeySet(published.url, ALGORITHMS, clock)
    assert set(await asyncio.gather(*(code(keys, "one") for _ in range(100)))) == {"found"}
    assert published.asked == 1


async def test_who_gives_up_takes_the_fetch_from_nobody(published: Provider, clock: Clock) -> None:
    """The others get what they wait for."""
    keys = KeySet(published.url, ALGORITHMS, clock)
    first, second = (asyncio.create_task(code(keys, "one")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "found"


async def test_an_old_set_works_while_its_url_is_away(published: Provider, clock: Clock) -> None:
    """It is renewed in the background; one line in the log says that it cannot be, until it can."""
    keys = KeySet(published.url, ALGORITHMS, clock)
    await keys.find("one")
    published.status = 500
    with capture_logs() as logged:
        for _ in range(3):
            clock.now += FRESH_SECONDS
            assert await code(keys, "one") == "found"
            await settled(keys)
    assert published.asked == 4
    assert [(line["event"], line["reason"]) for line in logged] == [("keys_unavailable", "it answered with HTTP 500")]
    published.status, published.keys = 200, [jwk("RS256 2", kid="two")]
    clock.now += FRESH_SECONDS
    assert await code(keys, "one") == "found"
    await settled(keys)
    assert await code(keys, "one") == "unauthorized"


async def test_after_a_quiet_time_a_key_that_was_taken_back_is_no_good(published: Provider, clock: Clock) -> None:
    """Who comes first waits for the set of now."""
    keys = KeySet(published.url, ALGORITHMS, clock)
    await keys.find("one")
    published.keys = [jwk("RS256 2", kid="two")]
    clock.now += STALE_SECONDS
    assert await code(keys, "one") == "unauthorized"


async def test_without_any_keys_it_is_not_the_clients_fault(published: Provider, clock: Clock) -> None:
    """`unavailable`, which is not final; the provider is asked no more often for it."""
    published.status = 503
    keys = KeySet(published.url, ALGORITHMS, clock)
    assert [await code(keys, "one") for _ in range(3)] == ["unavailable"] * 3
    published.status = 200
    clock.now += RETRY_SECONDS
    assert await code(keys, "one") == "found"
    assert published.asked == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"keys": 7}',
        b'{"keys": [7]}',
        b'{"keys": []}',
        b"[" * 100_000,
        b'{"keys": [' + b" " * (1 << 20) + b"]}",
        json.dumps({"keys": [{"kty": "oct", "k": "AAAA", "kid": "one"}]}).encode(),
        json.dumps({"keys": [jwk("RS256", kid="one", use="enc")]}).encode(),
        json.dumps({"keys": [jwk("RS256", kid="one", alg="RS512")]}).encode(),
        json.dumps({"keys": [jwk("RS256", kid=["one"])]}).encode(),
        json.dumps({"keys": [{**jwk("RS256", kid="one"), "n": "AQAB"}]}).encode(),
        json.dumps({"keys": [{"kty": "junk"}] * 100 + [jwk("RS256", kid="one")]}).encode(),
    ],
)
async def test_what_is_no_usable_set_leaves_things_as_they_are(published: Provider, clock: Clock, body: bytes) -> None:
    """No set at all, one beyond the bounds, one of shared secrets, keys for something else, and too short ones."""
    published.body = body
    keys = KeySet(published.url, ALGORITHMS, clock)
    assert await code(keys, "one") == "unavailable"
    published.body = None
    clock.now += RETRY_SECONDS
    assert await code(keys, "one") == "found"
    published.body = body
    clock.now += FRESH_SECONDS
    await keys.find("one")
    await settled(keys)
    assert await code(keys, "one") == "found"


async def test_a_log_line_holds_no_secret_of_the_url(clock: Clock) -> None:
    """Neither the password nor what is asked for."""
    with capture_logs() as logged:
        keys = KeySet("http://user:password@127.0.0.1:1/jwks?secret=yes", ALGORITHMS, clock)
        assert await code(keys, "one") == "unavailable"
    assert logged[0]["url"] == "http://127.0.0.1:1/jwks"
    assert "password" not in str(logged)


async def test_closing_ends_a_fetch(clock: Clock) -> None:
    """Nothing is left when the chat stops."""
    async with provider() as published:
        keys = KeySet(published.url, ALGORITHMS, clock)
        waiting = asyncio.create_task(code(keys, "one"))
        await asyncio.sleep(0)
        fetching: Any = keys._fetching
        await keys.close()
        assert fetching.done()
        with pytest.raises(asyncio.CancelledError):
            await waiting
