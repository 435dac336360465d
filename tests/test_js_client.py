"""The JavaScript client and a real server, on a connection that holds; its types, its package and its documentation."""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import aiochat
from aiochat.config import load
from aiochat.messages import Message
from tests.browser import People, needs_chromium
from tests.hubs import QUIET
from tests.js_clients import HERE, NODE, ChatError, JsChat, needs_node, running_js
from tests.scripted import next_of
from tests.servers import Server, running

CHECKOUT: Final = HERE.parent
CLIENT: Final = CHECKOUT / "aiochat" / "web"
MANUAL: Final = (CHECKOUT / "docs" / "js.md").read_text(encoding="utf-8")
TSC: Final = HERE / "node_modules" / "typescript" / "bin" / "tsc"
_STRICT: Final = {
    "strict": True,
    "noEmit": True,
    "skipDefaultLibCheck": True,
    "checkJs": True,
    "module": "nodenext",
    "target": "es2022",
    "lib": ["es2023", "dom", "dom.iterable"],
    "types": [],
}
# As much of the types of ws as is needed; the package has none of its own.
_WS_TYPES: Final = 'declare module "ws" { export const WebSocket: { new (url: string): globalThis.WebSocket }; }'

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_node]


@asynccontextmanager
async def one(server: Server, room: str, name: str) -> AsyncIterator[JsChat]:
    """Somebody in the room."""
    async with running_js() as chat:
        await chat.ask("connect", {"url": server.ws_url, "name": name, "rooms": [room]})
        await chat.next_of("state", state="online")
        yield chat


async def test_what_one_publishes_all_are_told(shared: Server, room: str) -> None:
    """The publisher too, and a Python client; the ack has the offset under which it is in the log."""
    async with one(shared, room, "alice") as alice, aiochat.connect(shared.ws_url, name="bob", rooms=[room]) as bob:
        ack = await alice.ask("publish", room.upper(), "grüße 🙂", {"data": {"mood": ["good", 1.5, None]}})
        said, heard = await alice.next_of("message"), await next_of(bob, Message)
        assert (said["text"], said["data"]) == (heard.text, heard.data) == ("grüße 🙂", {"mood": ["good", 1.5, None]})
        assert (said["offset"], said["key"]) == (heard.offset, heard.key) == (ack["offset"], ack["key"])
        assert said["sender"] == {"client": await alice.ask("get", "client"), "name": "alice"}
        await bob.publish(room, "hi alice")
        assert (await alice.next_of("message"))["text"] == "hi alice"


async def test_everything_that_one_can_ask(shared: Server, room: str) -> None:
    """Each gives what the server answers, or a ChatError with its code and field."""
    async with one(shared, room, "alice") as alice, one(shared, room, "alice") as bob:
        assert await bob.ask("nameIn", room) == "alice-2"
        assert [renamed["name"] for renamed in await bob.ask("rename", "bob")] == ["bob"]
        for number in range(1, 8):
            await alice.ask("publish", room, str(number))
        newest = await alice.ask("history", room, {"limit": 2})
        before = await alice.ask("history", room, {"before": 4, "limit": 2})
        assert [[entry["offset"] for entry in page["messages"]] for page in (newest, before)] == [[6, 7], [2, 3]]
        assert [member["name"] for member in (await alice.ask("who", room))["members"]] == ["alice", "bob"]
        assert room in [info["room"] for info in (await alice.ask("rooms"))["rooms"]]
        assert (await alice.ask("direct", {"name": "bob", "room": room}, "psst"))["connections"] == 1
        direct = await bob.next_of("direct")
        assert (direct["text"], direct["room"], direct["sender"]["name"]) == ("psst", room, "alice")
        assert 0 < await alice.ask("ping") < 10_000
        assert (await bob.ask("join", f"{room}-b", {"since": {"epoch": "", "offset": 0}}))["name"] == "bob"
        await bob.next_of("caughtup", room=f"{room}-b", messages=0)
        assert await bob.ask("get", "joined") == [room, f"{room}-b"]
        await bob.ask("leave", room)
        await bob.next_of("left", room=room)
        assert (await alice.ask("get", "limits"))["message_bytes"] == 65536
        assert "resume" in await alice.ask("get", "features")
        for asking, code, field in (
            (bob.ask("publish", room, "from outside"), "not_joined", "room"),
            (bob.ask("publish", f"{room}-b", "\ud800"), "bad_message", "text"),
            (bob.ask("join", "!"), "bad_room", "room"),
            (bob.ask("call", "time"), "unknown_method", "method"),
            (bob.ask("refresh", "token"), "forbidden", "token"),
        ):
            with pytest.raises(ChatError) as error:
                await asking
            assert (error.value.code, error.value.field) == (code, field)


async def test_a_room_and_a_name_that_are_refused_are_told(shared: Server, room: str) -> None:
    """The chat goes on, and one may join under another name."""
    async with running_js() as chat:
        await chat.ask("connect", {"url": shared.ws_url, "name": "a:b", "rooms": [room]})
        error = await chat.next_of("error")
        assert (error["code"], error["field"], error["room"]) == ("bad_name", "name", room)
        assert (await chat.next_of("left"))["reason"] == "bad_name"
        assert (await chat.ask("join", room, {"name": "ab"}))["name"] == "ab"


async def test_the_longest_message_goes(shared: Server, room: str) -> None:
    """A longer one never leaves, since the server would end the chat (1009)."""
    async with one(shared, room, "alice") as chat:
        await chat.ask("publish", room, "x" * (65536 - 150))
        with pytest.raises(ChatError, match="more than the 65536"):
            await chat.ask("publish", room, "x" * 65536)
        await chat.ask("ping")


async def test_publishing_faster_than_allowed_is_no_error() -> None:
    """It takes longer: the server's limit is kept to, and the order too."""
    settings = {"limits.messages_per_second": 100, "limits.burst_messages": 10}
    async with running(settings=settings) as server, one(server, "lobby", "alice") as chat:
        acks = await asyncio.gather(*(chat.start("publish", "lobby", str(number)) for number in range(60)))
        assert [ack["offset"] for ack in acks] == list(range(1, 61))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the package `aiochat-client` in its node_modules, as npm would put it there, and ws."""
    modules = tmp_path / "node_modules"
    modules.mkdir()
    files = json.loads((CLIENT / "package.json").read_text())["files"]
    (modules / "aiochat-client").mkdir()
    for name in ("package.json", *files):
        (modules / "aiochat-client" / name).write_bytes((CLIENT / name).read_bytes())
    (modules / "ws").symlink_to(HERE / "node_modules" / "ws")
    return tmp_path


def examples(language: str) -> list[str]:
    """Those of the manual."""
    return re.findall(rf"```{language}\n(.*?)```", MANUAL, re.DOTALL)


@pytest.mark.parametrize("number", range(len(examples("js"))))
async def test_the_examples_of_the_manual_run(project: Path, number: int) -> None:
    """Each as it stands, against a server at the address that it names, until it has shown what it is for."""
    assert NODE is not None
    async with running() as server:
        program = project / "example.mjs"
        program.write_text(examples("js")[number].replace("127.0.0.1:8080", f"127.0.0.1:{server.port}"))
        process = await asyncio.create_subprocess_exec(
            *(NODE, str(program)), cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        output, errors = await process.communicate()
    assert (process.returncode, errors.decode()) == (0, "")
    assert "in the log" in output.decode()


@needs_chromium
async def test_the_page_of_the_manual_runs(people: People) -> None:
    """As it stands, from a server that has it beside the chat."""
    (example,) = examples("html")

    async def show(request: web.Request) -> web.Response:
        return web.Response(text=example, content_type="text/html")

    app = web.Application()
    app.router.add_get("/example", show)
    app.router.add_get("/favicon.ico", show)  # a browser asks for it, and complains
    aiochat.setup(app, load(flags=QUIET))
    async with TestServer(app) as server, aiochat.connect(server.make_url("/ws"), name="bob", rooms="lobby") as bob:
        url = str(server.make_url("/example"))
        page = await people.blank(url)
        await page.goto(url)
        await page.get_by_text("online").wait_for()
        await page.fill("#line", "hello from a page")
        await page.press("#line", "Enter")
        assert (await next_of(bob, Message)).text == "hello from a page"
        await bob.publish("lobby", "<b>hi</b>")
        await page.get_by_text("bob: <b>hi</b>").wait_for()


@pytest.mark.skipif(not TSC.exists(), reason="TypeScript is absent; `make test` installs it where there is npm")
async def test_the_types_allow_what_the_client_can_do_and_nothing_else(project: Path) -> None:
    """The compiler reads them as those of the package, strictly, and the manual's examples with them."""
    assert NODE is not None
    (project / "usage.mts").write_text((HERE / "js_usage.mts").read_text())
    (project / "ws.d.ts").write_text(_WS_TYPES)
    for number, example in enumerate(examples("js")):
        (project / f"example{number}.mjs").write_text(example)
    (project / "tsconfig.json").write_text(json.dumps({"compilerOptions": _STRICT, "include": ["*"]}))
    process = await asyncio.create_subprocess_exec(
        NODE, str(TSC), "--pretty", "false", cwd=project, stdout=subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert (output.decode(), process.returncode) == ("", 0)


async def test_the_types_name_each_call_and_each_event() -> None:
    """None is missing, and none is there that the client has not."""
    declared = (CLIENT / "aiochat.d.ts").read_text()
    async with running_js() as chat:
        await chat.ask("connect", {"url": "ws://127.0.0.1:1/ws"})
        members, kinds = await chat.ask("members"), await chat.ask("kinds")
    assert set(members) == set(_members(declared, "Chat"))
    assert set(kinds) == set(_members(declared, "Events"))


def _members(declared: str, interface: str) -> list[str]:
    body = re.search(rf"export interface {interface} {{\n(.*?)\n}}", declared, re.DOTALL)
    assert body is not None
    return re.findall(r"^  (?:readonly )?(\w+)[(:<]", body[1], re.MULTILINE)


async def test_the_package_is_of_the_servers_version() -> None:
    """So that one can tell which belong together; and it needs nothing else."""
    package = json.loads((CLIENT / "package.json").read_text())
    assert package["version"] == aiochat.__version__
    assert not {"dependencies", "peerDependencies", "scripts"} & package.keys()
    assert "import" not in re.findall(r"^\w+", (CLIENT / "aiochat.js").read_text(), re.MULTILINE)
