"""The HTTP API as a program meets it, on a real server: what is said, what is seen, who is thrown out."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.apis import TOKEN, Admin, admin_of, administered
from tests.minted import OPTIONAL, minted
from tests.programs import program
from tests.servers import Server, talking
from tests.sockets import asked

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEY = "00000000-0000-4000-8000-000000000001"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server() -> AsyncIterator[Server]:
    """One for all of these tests, each in a room of its own."""
    async with administered(**OPTIONAL) as (server, _):
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def admin(server: Server) -> AsyncIterator[Admin]:
    """Who has its token."""
    async with admin_of(server) as admin:
        yield admin


# What is said.


async def test_a_message_reaches_the_room(server: Server, admin: Admin, room: str) -> None:
    """Text, data and a name; the answer says where it is in the log."""
    async with program(server, room) as alice, talking(f"{server.ws_url}/{room}") as bob:
        body = {"text": "hello", "data": {"a": [1, None]}, "name": "news"}
        answered = await admin.ask("POST", f"rooms/{room.upper()}/messages", body)
        message = await alice.next("message")
        assert message["sender"] == {"name": "news"}
        assert (message["text"], message["data"]) == ("hello", {"a": [1, None]})
        assert answered.status == 201
        place = {key: message[key] for key in ("room", "offset", "ts")}
        assert answered.json == {**place, "epoch": (await admin.get(f"rooms/{room}"))["epoch"]}
        assert await bob.hear() == "news: hello"


async def test_the_same_key_is_the_same_message(admin: Admin, room: str) -> None:
    """Said once, answered as often as it is sent; with other content it is refused."""
    path, body = f"rooms/{room}/messages", {"text": "once"}
    first = await admin.ask("POST", path, body, Idempotency_Key=KEY)
    again = await admin.ask("POST", path, body, Idempotency_Key=KEY)
    assert (first.status, again.status) == (201, 200)
    assert again.json == {**first.json, "repeated": True}
    other = await admin.refusal("POST", path, {"text": "twice"}, Idempotency_Key=KEY)
    assert other == (409, "key_reused", "key")
    assert (await admin.get(f"rooms/{room}"))["newest"] == 1
    assert await admin.refusal("POST", path, body, Idempotency_Key="short") == (400, "bad_message", "key")


async def test_a_key_or_body_that_cannot_be_read_is_refused(server: Server, room: str) -> None:
    """Bytes that are no UTF-8 would be in the room's log for good, where no client could be told of them."""
    head = (
        f"POST /api/v1/rooms/{room}/messages HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}"
    )
    for header, body in (
        (b"Idempotency-Key: " + b"\xff" * 8, b'{"text": "hi"}'),
        (b"Content-Encoding: gzip", b"no gzip"),
    ):
        request = b"\r\n".join((head.encode(), header, b"Content-Length: %d" % len(body), b"", body))
        answer = await asked(server, request)
        assert (answer.status, answer.json["code"]) == (400, "bad_message")


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({}, (400, "bad_message", "text")),
        (None, (400, "bad_message", "text")),
        ({"text": 1}, (400, "bad_message", "text")),
        ({"text": "hi", "txt": "hi"}, (400, "bad_message", None)),
        ({"text": "hi", "name": "@"}, (400, "bad_name", "name")),
        ({"data": {"a": 1 << 60}}, (400, "bad_message", "data")),
        ([], (400, "bad_message", None)),
        (b"hi", (400, "bad_message", None)),
        (b'{"text": "\xff"}', (400, "bad_message", None)),
        (b'{"text": "\\ud800"}', (400, "bad_message", None)),
        (b"[" * 20_000, (400, "bad_message", None)),
        ({"text": "x" * 65_536}, (413, "too_long", None)),
        (b" " * 200_000, (413, "too_long", None)),
    ],
    ids=repr,
)
async def test_what_is_no_message_is_refused(
    admin: Admin, room: str, body: object, refusal: tuple[int, str, str | None]
) -> None:
    """With the field that is wrong; nothing is said."""
    assert await admin.refusal("POST", f"rooms/{room}/messages", body) == refusal
    assert await admin.refusal("GET", f"rooms/{room}") == (404, "no_such_room", "room")


async def test_history_comes_in_pages(admin: Admin, room: str) -> None:
    """The newest, or before or after an offset; `more` says whether it goes on in that direction."""
    for number in range(1, 6):
        await admin.say(room, f"{number}")

    async def read(query: str) -> tuple[list[str], bool]:
        page = await admin.get(f"rooms/{room}/messages?{query}")
        return [message["text"] for message in page["messages"]], page["more"]

    assert await read("") == (["1", "2", "3", "4", "5"], False)
    assert await read("limit=2") == (["4", "5"], True)
    assert await read("limit=2&before=4") == (["2", "3"], True)
    assert await read("limit=2&before=3") == (["1", "2"], False)
    assert await read("limit=2&after=1") == (["2", "3"], True)
    assert await read("limit=2&after=3") == (["4", "5"], False)
    both = await admin.refusal("GET", f"rooms/{room}/messages?before=3&after=1")
    assert both == (400, "bad_message", "after")


async def test_a_message_is_taken_back(server: Server, admin: Admin, room: str) -> None:
    """Its members are told, its content is gone from the history, and a second time it is not there."""
    async with program(server, room) as alice:
        await admin.say(room, "oops")
        answered = await admin.ask("DELETE", f"rooms/{room}/messages/1")
        erased = await alice.next("erased")
        assert (answered.status, answered.json["target"], answered.json["offset"]) == (200, 1, erased["offset"])
    first, second = (await admin.get(f"rooms/{room}/messages"))["messages"]
    assert (first["erased"], "text" in first, second["type"]) == (True, False, "erased")
    for offset, refusal in ((1, (404, "no_such_message", "offset")), ("x", (400, "bad_message", "offset"))):
        assert await admin.refusal("DELETE", f"rooms/{room}/messages/{offset}") == refusal


async def test_a_deleted_room_begins_anew_and_its_members_know(server: Server, admin: Admin, room: str) -> None:
    """They stay, are told by a `gap` with the new epoch, and the next message is the first one of it."""
    async with program(server, room) as alice:
        before = (await admin.say(room, "old"))["epoch"]
        deleted = await admin.ask("DELETE", f"rooms/{room}")
        gap = await alice.next("gap")
        said = await admin.say(room, "new")
        message = await alice.next("message", text="new")
        assert gap == {"type": "gap", "room": room, "epoch": said["epoch"], "offset": 0}
        assert (deleted.json["epoch"], deleted.json["members"], deleted.json["newest"]) == (said["epoch"], 1, 0)
        assert (message["offset"], said["epoch"] != before) == (1, True)
        again = await alice.ask("join", room=room, since={"epoch": before, "offset": 1})
        assert (again["recovered"], again["epoch"]) == (False, said["epoch"])
    assert [each["text"] for each in (await admin.get(f"rooms/{room}/messages"))["messages"]] == ["new"]


async def test_an_unknown_room_cannot_be_deleted(admin: Admin, room: str) -> None:
    """Nor shown; but it can be read, as empty."""
    for method in ("GET", "DELETE"):
        assert await admin.refusal(method, f"rooms/{room}") == (404, "no_such_room", "room")
    assert (await admin.get(f"rooms/{room}/messages"))["messages"] == []
    assert (await admin.get(f"rooms/{room}/members")) == {"room": room, "count": 0, "members": []}
    for bad in ("%20", "a%2Fb", "x" * 129):
        assert await admin.refusal("GET", f"rooms/{bad}") == (400, "bad_room", "room")


# Who is there.


async def test_rooms_and_members_are_listed_in_pages(server: Server, admin: Admin, room: str) -> None:
    """By name and by id; the cursor of a page leads to the next one, the last one has none."""
    async with program(server, room, "alice") as alice, program(server, room, "bob") as bob:
        rooms: list[dict[str, object]] = []
        page = await admin.get("rooms?limit=1")
        while True:
            rooms += page["rooms"]
            if "cursor" not in page:
                break
            page = await admin.get(f"rooms?limit=1&cursor={page['cursor']}")
        assert {"room": room, "members": 2} in rooms
        first = await admin.get(f"rooms/{room}/members?limit=1")
        second = await admin.get(f"rooms/{room}/members?limit=1&cursor={first['cursor']}")
        members = [*first["members"], *second["members"]]
        names = {alice.client: "alice", bob.client: "bob"}
        assert [(member["client"], member["name"]) for member in members] == sorted(names.items())
        assert (first["count"], "cursor" in second) == (2, False)
        state = await admin.get(f"rooms/{room}")
        assert [state[key] for key in ("room", "members", "oldest", "newest")] == [room, 2, 1, 0]


async def test_clients_are_listed_with_what_waits_for_them(server: Server, admin: Admin, room: str) -> None:
    """All of them, or those in a room; one that is gone is not."""
    async with program(server, room, "alice") as alice, talking(f"{server.ws_url}/{room}"):
        await admin.say(room, "hi")
        await alice.next("message")
        await alice.ask("ping")
        found = (await admin.get(f"clients?room={room}"))["clients"]
        (mine,) = [client for client in found if client["client"] == alice.client]
        everybody = [client["client"] for client in (await admin.get("clients"))["clients"]]
        assert (len(found), alice.client in everybody) == (2, True)
        seconds = mine.pop("seconds")
        sent = mine.pop("messages_out")
        assert (0 < seconds < 60, sent >= 3) == (True, True)
        assert mine == {
            "client": alice.client,
            "address": "127.0.0.1",
            "codec": "aiochat.v1.json",
            "rooms": [room],
            "messages_in": 1,
            "queued_messages": 0,
            "queued_bytes": 0,
            "name": "alice",
        }
    assert await admin.get(f"clients?room={room}") == {"clients": []}
    assert await admin.get("clients?user=nobody") == {"clients": []}


async def test_who_is_kicked_is_told_and_stays_away(server: Server, admin: Admin, room: str) -> None:
    """Closed with 4410, which clients take as final; others chat on."""
    async with program(server, room) as alice, program(server, room) as bob:
        assert (await admin.ask("DELETE", f"clients/{alice.client}")).status == 204
        code, goodbye = await alice.closed()
        assert (code, goodbye["type"], goodbye["code"]) == (4410, "goodbye", 4410)
        assert (await bob.ask("publish", room=room, text="still here"))["type"] == "ack"
        refusal = await admin.refusal("DELETE", f"clients/{alice.client}")
        assert refusal == (404, "no_such_client", "client")


async def test_a_banned_address_is_out_until_it_is_let_in(admin: Admin) -> None:
    """In any way of writing it, with the reason and until when."""
    answered = await admin.ask("PUT", "bans/addresses/192.0.2.7%2F24", {"reason": "noise", "seconds": 60})
    ban = {"address": "192.0.2.0/24", "reason": "noise", "expires": answered.json["expires"]}
    assert (answered.status, answered.json) == (200, ban)
    assert ban in (await admin.get("bans"))["bans"]
    assert (await admin.ask("DELETE", "bans/addresses/192.0.2.0/24")).status == 204
    assert await admin.refusal("DELETE", "bans/addresses/192.0.2.0/24") == (404, "no_such_ban", None)
    assert await admin.refusal("PUT", "bans/addresses/here") == (400, "bad_message", "address")


async def test_a_banned_user_is_listed_in_pages_with_the_others(admin: Admin) -> None:
    """Whatever its name; without a body the ban has no reason and no end."""
    users = ["https://id.example/7", "zoë", "auth0|1"]
    for user in users:
        quoted = user.replace("/", "%2F").replace("|", "%7C").replace("ë", "%C3%AB")
        assert (await admin.ask("PUT", f"bans/users/{quoted}")).json == {"user": user}
    listed: list[str] = []
    page = await admin.get("bans?limit=2")
    while True:
        listed += [ban["user"] for ban in page["bans"]]
        if "cursor" not in page:
            break
        page = await admin.get(f"bans?limit=2&cursor={page['cursor']}")
    assert listed == sorted(users)
    for user in users:
        quoted = user.replace("/", "%2F").replace("|", "%7C").replace("ë", "%C3%AB")
        assert (await admin.ask("DELETE", f"bans/users/{quoted}")).status == 204
    refusal = await admin.refusal("PUT", "bans/users/eve", {"seconds": -1})
    assert refusal == (400, "bad_message", "seconds")


async def test_a_user_is_spoken_to_and_thrown_out_everywhere(server: Server, admin: Admin, room: str) -> None:
    """On each of its connections: by a direct message, then by a ban, which also keeps it from coming again."""
    user = f"user of {room}"
    token = {"Authorization": f"Bearer {minted(user)}"}
    quoted = user.replace(" ", "%20")
    async with program(server, room, headers=token) as one, program(server, headers=token) as other:
        sent = await admin.ask("POST", f"users/{quoted}/messages", {"text": "psst", "name": "desk"})
        assert (sent.status, sent.json) == (200, {"user": user, "connections": 2})
        for client in (one, other):
            said = await client.next("direct")
            assert (said["text"], said["sender"]) == ("psst", {"name": "desk"})
        listed = (await admin.get(f"clients?user={quoted}"))["clients"]
        assert {client["client"] for client in listed} == {one.client, other.client}
        assert (await admin.ask("PUT", f"bans/users/{quoted}", {"reason": "enough"})).status == 200
        for client in (one, other):
            code, goodbye = await client.closed()
            assert (code, goodbye["reason"]) == (4403, "banned: enough")
        assert (await admin.ask("DELETE", f"bans/users/{quoted}")).status == 204


async def test_nobody_to_speak_to_is_no_success(admin: Admin) -> None:
    """A user without a connection misses what is said to it, and the sender knows."""
    refusal = await admin.refusal("POST", "users/nobody/messages", {"text": "hi"})
    assert refusal == (404, "no_such_client", "user")


# Who may.


@pytest.mark.parametrize("token", [None, "", "x", TOKEN[:-1], TOKEN + "x", "wr\xf6ng"])
@pytest.mark.parametrize(("method", "path"), [("GET", "rooms"), ("PATCH", "rooms"), ("GET", "nowhere")])
async def test_without_the_token_there_is_nothing_to_see(
    admin: Admin, token: str | None, method: str, path: str
) -> None:
    """Not even what there is: 401, and which scheme is meant."""
    answered = await admin.ask(method, path, token=token)
    assert (answered.status, answered.json["code"]) == (401, "unauthorized")
    assert answered.headers["WWW-Authenticate"] == "Bearer"


async def test_what_is_not_there_is_told_as_json(admin: Admin) -> None:
    """404 for a path, 405 for a method with those that are allowed."""
    assert await admin.refusal("GET", "nowhere") == (404, "not_found", None)
    for path, allowed in (("rooms", "GET, HEAD"), ("rooms/a", "DELETE, GET, HEAD"), ("clients/c", "DELETE")):
        answered = await admin.ask("PATCH", path)
        assert (answered.status, answered.json["code"]) == (405, "method_not_allowed")
        assert answered.headers["Allow"] == allowed
    head = await admin.ask("HEAD", "rooms")
    assert (head.status, head.json) == (200, None)


@pytest.mark.parametrize("query", ["limit=0", "limit=301", "limit=x", "limit=1&limit=2", "limits=1"])
async def test_a_query_is_checked(admin: Admin, query: str) -> None:
    """What is misspelt is no wish for the default."""
    status, code, field = await admin.refusal("GET", f"rooms?{query}")
    assert (status, code, field) == (400, "bad_message", None if query == "limits=1" else "limit")


async def test_the_description_is_for_everybody(admin: Admin) -> None:
    """It says nothing about this server."""
    answered = await admin.ask("GET", "openapi.json", token=None)
    assert (answered.status, answered.json["openapi"]) == (200, "3.1.0")


async def test_each_change_has_a_line_in_the_log(server: Server, admin: Admin, room: str) -> None:
    """Who, what and how it went, found by the request's id; neither the token nor what is said."""
    answered = await admin.ask("POST", f"rooms/{room}/messages", {"text": "a secret"}, X_Request_ID="trace-1")
    assert answered.headers["X-Request-ID"] == "trace-1"
    (line,) = await server.logged("api_called", request_id="trace-1")
    assert {key: line[key] for key in ("operation", "target", "outcome", "address")} == {
        "operation": "publish_message",
        "target": room,
        "outcome": "done",
        "address": "127.0.0.1",
    }
    refused = await admin.ask("PUT", "bans/users/a%0Ab", {"seconds": 0})
    (line,) = await server.logged("api_called", request_id=refused.headers["X-Request-ID"])
    assert (line["target"], line["outcome"]) == ("'a\\nb'", "bad_message")
    await admin.ask("GET", "rooms", token="guessed")
    await server.logged("api_token_wrong")
    said = repr(server.log)
    assert not [secret for secret in (TOKEN, "guessed", "a secret") if secret in said]


async def test_without_a_configured_token_there_is_no_api(shared: Server) -> None:
    """404, as for any other path; whatever token is shown."""
    async with aiohttp.ClientSession(shared.base_url, headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        for path in ("/api/v1/rooms", "/api/v1/openapi.json", "/nowhere"):
            answer = await session.get(path)
            assert (answer.status, answer.content_type) == (404, "text/plain")
            assert answer.headers["X-Request-ID"]
