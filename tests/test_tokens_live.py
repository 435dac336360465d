"""Access tokens and a real server: how they are shown, what is refused, how they end, and what each client does."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import expect

import aiochat
from aiochat.messages import Joined, Left, Message
from tests.browser import People, needs_chromium
from tests.js_clients import needs_node, running_js
from tests.minted import OPTIONAL, REQUIRED, SECRET, ending, jwk, minted, private_key, private_pem, provider
from tests.programs import JSON, MSGPACK, Program, program
from tests.scripted import next_of
from tests.servers import Server, environment, running, talking
from tests.sockets import asked, handshake, wired
from tests.test_wscat import WSCAT, Terminal, wscat

__all__ = ["wscat"]

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHOWN: dict[str, Callable[[str], dict[str, Any]]] = {
    "header": lambda token: {"headers": {"Authorization": f"bearer  {token}"}},
    "subprotocol": lambda token: {"protocols": (JSON, f"bearer.{token}")},
    "query": lambda token: {"params": {"token": token}},
    "everywhere": lambda token: {"headers": {"Authorization": f"Bearer {token}"}, "params": {"token": token}},
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def members() -> AsyncIterator[Server]:
    """A server that takes nobody without a token."""
    async with running(settings=REQUIRED) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def visitors(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server where a token is optional, with rules in its file."""
    rules = tmp_path_factory.mktemp("rules") / "chat.toml"
    rules.write_text('[[room]]\nmatch = "team-*"\njoin = "named"\n\n[[room]]\nmatch = "feed"\npublish = "api"\n')
    async with running(settings=OPTIONAL, config=rules) as server:
        yield server


async def test_the_log_says_which_user_connects(members: Server) -> None:
    """Beside the client's id, where a token or a hook names one."""
    async with wired(members, f"/ws?token={minted('operator')}"):
        await members.logged("connection_opened", user="operator")


async def greeting(server: Server, **options: Any) -> dict[str, Any]:
    """The `welcome` that a program gets."""
    options = {"protocols": (JSON,), **options}
    async with aiohttp.ClientSession() as session, session.ws_connect(server.ws_url, **options) as socket:
        return await Program(socket).next("welcome")


# How a token is shown.


@pytest.mark.parametrize("where", SHOWN)
async def test_a_token_is_shown_in_any_of_three_places(members: Server, where: str) -> None:
    """Or in several, if it is the same one; the subprotocol that is answered with is never the token."""
    welcome = await greeting(members, **SHOWN[where](minted()))
    assert welcome["user"] == "alice"
    assert "tokens" in welcome["features"]
    assert 3_500_000 < welcome["valid_ms"] <= 3_600_000


@pytest.mark.parametrize("where", ["header", "query"])
async def test_a_line_is_said_under_the_tokens_name(members: Server, room: str, where: str) -> None:
    """For wscat and the like there is no more to it."""
    async with talking(f"{members.ws_url}/{room}", **SHOWN[where](minted(name="Alice"))) as alice:
        assert await alice.hear() == f"* you are in {room} as Alice; nobody else is here"
        await alice.say("hello everybody")
        assert await alice.hear() == "Alice: hello everybody"


async def test_a_line_of_nobody_in_particular_is_a_guests(visitors: Server, room: str) -> None:
    """Lest it passes for the name that somebody writes at its beginning; in what was said before, too."""
    async with talking(f"{visitors.ws_url}/{room}") as guest, program(visitors, room) as watching:
        await guest.say("alice: hello everybody")
        heard = await guest.hear()
        message = await watching.next("message")
        assert heard == f"guest-{message['sender']['client']}: alice: hello everybody"
        assert "name" not in message["sender"]
        async with talking(f"{visitors.ws_url}/{room}?name=bob") as bob:
            assert await bob.hear() == heard


async def test_a_text_client_comes_into_the_first_room_of_its_token(members: Server, room: str) -> None:
    """And a program into all of them."""
    rooms = [f"{room}-{number}" for number in range(3)]
    headers = {"Authorization": f"Bearer {minted(rooms=rooms)}"}
    async with talking(members.ws_url, headers=headers) as alice:
        assert (await alice.hear()).startswith(f"* you are in {rooms[0]} ")
    for codec in (JSON, MSGPACK):
        async with program(members, codec=codec, headers=headers) as client:
            assert [(await client.next("joined"))["room"] for _ in rooms] == rooms


# What is refused.

BAD = {
    "none": {},
    "empty": {"headers": {"Authorization": "Bearer"}},
    "foreign": SHOWN["query"](minted(key="another secret of more than thirty-two bytes")),
    "expired": SHOWN["header"](minted(exp=1)),
    "garbage": SHOWN["subprotocol"]("x.y.z"),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_token_is_told_to_everybody_so_that_they_understand(members: Server, kind: str) -> None:
    """HTTP 401 to who offers no subprotocol; to who does, and is a browser perhaps, `goodbye` and 4401."""
    options = {key: value for key, value in BAD[kind].items() if key != "protocols"}
    if "protocols" in BAD[kind]:
        options["params"] = {"token": "x.y.z"}
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(members.ws_url, **options)
    assert refused.value.status == 401
    assert refused.value.headers is not None
    assert refused.value.headers["WWW-Authenticate"] == 'Bearer realm="aiochat"'
    options = {"protocols": (JSON,), **BAD[kind]}
    async with aiohttp.ClientSession() as session, session.ws_connect(members.ws_url, **options) as socket:
        code, goodbye = await Program(socket).closed()
    assert (code, goodbye["code"]) == (4401, 4401)
    assert goodbye["reason"].startswith("unauthorized: ")


async def test_a_refusal_is_an_answer_for_programs(members: Server) -> None:
    """Its code, and a reason that says what is missing."""
    answer = await asked(members, handshake())
    assert (answer.status, answer.json["code"]) == (401, "unauthorized")
    assert answer.json["reason"] == "this server wants an access token, and there was none"


async def test_two_different_tokens_are_refused(members: Server) -> None:
    """It is not for the server to choose."""
    shown = {"Authorization": f"Bearer {minted()}", "Sec-WebSocket-Protocol": f"bearer.{minted('bob')}"}
    answer = await asked(members, handshake(headers=shown))
    assert (answer.status, answer.json["code"]) == (400, "bad_request")


async def test_with_optional_tokens_only_a_bad_one_is_refused(visitors: Server) -> None:
    """Who shows none is anonymous; who shows a bad one would not like to be."""
    assert "user" not in await greeting(visitors)
    assert (await greeting(visitors, **SHOWN["header"](minted())))["user"] == "alice"
    answer = await asked(visitors, handshake("/ws?token=x"))
    assert (answer.status, answer.json["code"]) == (401, "unauthorized")


async def test_where_all_are_anonymous_tokens_are_not_looked_at(shared: Server) -> None:
    """They are another server's, or a proxy's; `welcome` says of no user, and that there are no tokens."""
    for where, token in (("query", "x"), ("header", minted())):
        welcome = await greeting(shared, **SHOWN[where](token))
        assert "user" not in welcome
        assert "tokens" not in welcome["features"]


async def test_a_room_that_one_may_not_join_is_refused_at_the_door(visitors: Server) -> None:
    """403 for a URL with such a room, 4403 for who offers a subprotocol; with the right token it opens."""
    answer = await asked(visitors, handshake("/ws/team-red"))
    assert (answer.status, answer.json) == (403, {"code": "forbidden", "reason": "you may not join team-red"})
    url = f"{visitors.ws_url}/team-red"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=(JSON,)) as socket:
        assert (await Program(socket).closed())[0] == 4403
    async with talking(url, headers={"Authorization": f"Bearer {minted(join=['team-*'])}"}) as alice:
        assert (await alice.hear()).startswith("* you are in team-red as alice")


async def test_a_rule_in_a_file_is_in_force(visitors: Server) -> None:
    """Nobody speaks in the feed, whoever it is."""
    async with program(visitors, "feed", headers={"Authorization": f"Bearer {minted()}"}) as alice:
        assert await alice.refusal("publish", room="feed", text="hello everybody") == ("forbidden", "room")


# How it ends.


async def test_at_its_end_a_token_closes_the_connection(members: Server, room: str) -> None:
    """4003 after a `goodbye`, for a program and for lines; with a new token the session goes on."""
    shown: dict[str, Any] = {"headers": {"Authorization": f"Bearer {ending()}"}}
    async with talking(f"{members.ws_url}/{room}", **shown) as line, program(members, **shown) as client:
        first, session = client.client, client.token
        code, goodbye = await client.closed()
        assert (code, goodbye["code"], goodbye["reason"]) == (4003, 4003, "the access token has expired")
        assert await line.closed() == 4003
    async with program(members, headers={"Authorization": f"Bearer {minted()}"}) as client:
        assert (await client.ask("resume", token=session))["client"] == first


async def test_a_token_is_refreshed_in_band(members: Server, room: str) -> None:
    """The new one says how long it holds; one of somebody else is refused."""
    async with program(members, room, headers={"Authorization": f"Bearer {minted()}"}) as client:
        expires = int(time.time()) + 600
        assert (await client.ask("refresh", token=minted(exp=expires)))["expires"] == expires * 1000
        assert await client.refusal("refresh", token=minted("mallory")) == ("forbidden", "token")


async def test_keys_of_a_provider_open_the_door(room: str) -> None:
    """Fetched at the first connect; a key that comes later opens it as well, and while there are none it is 503."""
    async with provider(jwk("ES256", kid="one")) as published:
        published.status = 500
        settings = {
            "security.mode": "required",
            "security.token_jwks_url": published.url,
            "security.token_algorithms": ["ES256"],
        }
        token = minted(key=private_key("ES256"), algorithm="ES256", kid="one")
        async with running(settings=settings) as server:
            answer = await asked(server, handshake(f"/ws?token={token}"))
            assert (answer.status, answer.json["code"]) == (503, "unavailable")
            assert "retry-after" in answer.headers
            await server.logged("keys_unavailable")
        published.status = 200
        async with running(settings=settings) as server:
            async with program(server, room, params={"token": token}) as alice:
                published.status = 500
                assert (await alice.ask("refresh", token=token))["type"] == "refreshed"
            assert (await greeting(server, params={"token": token}))["user"] == "alice"


# Each client.


async def test_the_python_client_refreshes_by_itself(members: Server, room: str) -> None:
    """Where its token is a function: with the new one it may not be in every room where the old one has brought it."""
    other = f"{room}-2"
    purse = Purse(ending(8, rooms=[other]), minted(join=[room]))
    async with aiochat.connect(members.ws_url, rooms=[room], token=purse) as chat:
        assert {(await next_of(chat, Joined)).room for _ in range(2)} == {room, other}
        assert chat.user == "alice"
        assert await next_of(chat, Left) == Left(room=other, reason="forbidden")
        await chat.publish(room, "hello everybody")
        assert (await next_of(chat, Message)).sender.name == "alice"  # type: ignore[union-attr]


class Purse:
    """Gives these tokens one after the other; `empty` is set with the last one."""

    def __init__(self, *tokens: str) -> None:
        self._tokens = list(tokens)
        self.empty = asyncio.Event()

    async def __call__(self) -> str:
        token = self._tokens.pop(0)
        if not self._tokens:
            self.empty.set()
        return token


async def test_the_python_client_comes_back_with_a_new_token(members: Server, room: str) -> None:
    """Where it could not refresh, 4003 is a break like any other, and where it has but one token the end."""
    purse = Purse(ending(), "not a token that can be refreshed with", minted())
    async with aiochat.connect(members.ws_url, rooms=[room], token=purse) as chat:
        first = chat.client
        await purse.empty.wait()
        await chat.publish(room, "hello everybody")
        assert chat.client == first
    async with aiochat.connect(members.ws_url, rooms=[room], token=ending()) as chat:
        with pytest.raises(aiochat.sdk.ChatClosed) as closed:
            await next_of(chat, Message)
        assert closed.value.code == 4003


@needs_node
async def test_the_javascript_client_shows_and_refreshes_its_token(members: Server, room: str) -> None:
    """In the list of subprotocols; by itself where it is a function, and the new one may say less."""
    other = f"{room}-2"
    tokens = [ending(8, sub="bob", rooms=[other]), minted("bob", join=[room])]
    async with running_js() as chat, program(members, room, headers={"Authorization": f"Bearer {minted()}"}) as alice:
        await chat.ask("connect", {"url": members.ws_url, "rooms": [room], "tokens": tokens})
        assert await chat.next_of("left") == {"kind": "left", "type": "left", "room": other, "reason": "forbidden"}
        await chat.ask("publish", room, "hello everybody")
        assert (await alice.next("message"))["sender"]["user"] == "bob"
        assert (await chat.ask("get", "user"), await chat.ask("get", "joined")) == ("bob", [room])


@needs_node
async def test_the_javascript_client_is_told_that_its_token_is_bad(members: Server, room: str) -> None:
    """It does not try for ever."""
    async with running_js() as chat:
        await chat.ask("connect", {"url": members.ws_url, "rooms": [room], "token": minted(exp=1)})
        refused = await chat.next_of("refused")
        assert (refused["code"], refused["reason"]) == (4401, "unauthorized: the token has expired")


@needs_chromium
async def test_the_page_says_that_a_token_is_wanted(members: Server, people: People) -> None:
    """In words, and does not try for ever."""
    page = await people.blank(members.base_url)
    await page.goto(members.base_url)
    await expect(page.locator("#_banner")).to_contain_text("this server wants an access token")
    await expect(page.locator("#_banner")).to_contain_text("Sign in, then come back.")


@pytest.mark.skipif(WSCAT is None, reason="wscat is absent; `make test` installs it where there is npm")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
async def test_wscat_shows_a_token_in_a_header(members: Server, wscat: Callable[..., Terminal], room: str) -> None:
    """As anybody would try first; and without one it says why it is not let in."""
    url = f"ws://127.0.0.1:{members.port}/ws/{room}"
    alice = wscat("-c", url, "-H", f"Authorization: Bearer {minted()}")
    await alice.shows(f"< * you are in {room} as alice; ")
    alice.type("hello everybody")
    await alice.shows("< alice: hello everybody")
    await wscat("-c", url).shows("401")


async def aiochat_command(*arguments: str, typed: str = "", **settings: Any) -> tuple[int, str, str]:
    """What the command does: exit code, output, errors."""
    variables = {name: settings.pop(name) for name in list(settings) if name.startswith("AIOCHAT_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aiochat", *arguments),
        env={**environment(settings), **variables},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(typed.encode())
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_a_token_of_the_command_opens_the_door(members: Server, room: str) -> None:
    """`aiochat token` prints nothing else; `aiochat chat` takes it from the environment or as an option."""
    asked_for = ("--sub", "bob", "--name", "Bob", "--join", f"{room}*", "--room", f"{room}-2", "--ttl", "1h")
    code, token, errors = await aiochat_command("token", *asked_for, **REQUIRED)
    assert (code, token.count("\n"), errors) == (0, 1, "")
    async with program(members, room, headers={"Authorization": f"Bearer {minted()}"}) as alice:
        for options, variables in ((("--token", token.strip()), {}), ((), {"AIOCHAT_TOKEN": token.strip()})):
            said = await aiochat_command("chat", members.ws_url, "--room", room, *options, typed="hi", **variables)
            assert said[0] == 0, said
            message = await alice.next("message")
            assert (message["text"], message["sender"]["name"], message["sender"]["user"]) == ("hi", "Bob", "bob")
    code, _, errors = await aiochat_command("chat", members.ws_url, typed="hi")
    assert code == 2
    assert "this server wants an access token" in errors


@pytest.mark.parametrize(
    ("arguments", "settings", "said"),
    [
        (("--sub", "bob"), {}, "openssl rand -hex 32"),
        (("--sub", "b\nob"), REQUIRED, "cannot be shown"),
        (("--sub", "bob", "--ttl", "soon"), REQUIRED, "90s"),
        (("--sub", "bob", "--join", "?"), REQUIRED, "a room's name"),
        (("--sub", "bob"), {**REQUIRED, "security.token_key": "short"}, "HS256"),
        (("--sub", "bob", "--key", "nowhere.pem"), REQUIRED, "nowhere.pem cannot be read"),
    ],
)
async def test_a_token_that_cannot_be_made_is_one_line(
    arguments: tuple[str, ...], settings: dict[str, Any], said: str
) -> None:
    """Which says what to do."""
    code, output, errors = await aiochat_command("token", *arguments, **settings)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert said in errors
    assert SECRET not in errors


async def test_a_token_is_signed_with_a_private_key(tmp_path: Any) -> None:
    """Where the server knows the public one alone."""
    pem = tmp_path / "private.pem"
    pem.write_text(private_pem("EdDSA"))
    settings = {
        "security.mode": "required",
        "security.token_algorithms": json.dumps(["EdDSA"]),
        "security.token_key_file": os.fspath(pem),
    }
    code, token, _ = await aiochat_command("token", "--sub", "bob", "--key", os.fspath(pem), **settings)
    assert code == 0
    async with running(settings=settings) as server:
        assert (await greeting(server, params={"token": token.strip()}))["user"] == "bob"
    code, _, errors = await aiochat_command("token", "--sub", "bob", **settings)
    assert (code, "--key FILE" in errors) == (2, True)
