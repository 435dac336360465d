"""The page in a real Chromium: people who chat, each in a browser of their own."""

import json
import re

import pytest
from playwright.async_api import Page, WebSocketRoute, expect

import aiochat
from tests.browser import People, needs_chromium, say, texts, until_online
from tests.minted import OPTIONAL, REQUIRED, ending, minted
from tests.servers import Server, running, talking

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_chromium]


async def test_two_people_chat_and_a_third_sees_what_was_said(people: People, chat: Server, room: str) -> None:
    """Each line is shown to both, once and in one order, under its name; who comes late has it from the history."""
    url = f"{chat.base_url}/#{room}"
    alice, bob = await people.open(url, "alice"), await people.open(url, "bob")
    await say(alice, "hello", "is anybody here?")
    await expect(texts(bob)).to_have_text(["hello", "is anybody here?"])
    await say(bob, "I am")
    said = ["hello", "is anybody here?", "I am"]
    await expect(texts(alice)).to_have_text(said)
    carol = await people.open(url, "carol")
    await expect(texts(carol)).to_have_text(said)
    await expect(carol.get_by_role("article", name=re.compile("^bob, "))).to_contain_text("I am")
    for page in (alice, bob, carol):
        here = page.get_by_role("complementary", name="People").locator(".name")
        for name in ("alice", "bob", "carol"):
            await expect(here.filter(has_text=name)).to_have_count(1)


async def test_an_own_line_is_marked_once_it_is_in_the_log(people: People, chat: Server, room: str) -> None:
    """It is there at once; then it has its place among the others."""
    alice = await people.open(f"{chat.base_url}/#{room}", "alice")
    await say(alice, "hello")
    own = alice.locator("#_timeline .message.own")
    await expect(own).to_have_count(1)
    await expect(own).to_have_attribute("data-state", "sent")
    await expect(own).to_have_attribute("data-offset", "1")
    await expect(alice.locator("#_line")).to_have_value("")
    await expect(alice.locator("#_line")).to_be_focused()


async def test_the_page_and_a_terminal_chat_with_each_other(people: People, chat: Server, room: str) -> None:
    """What is typed in the page is heard elsewhere, and the other way round."""
    async with talking(f"{chat.ws_url}/{room}?name=bob") as bob:
        await bob.hear()
        alice = await people.open(f"{chat.base_url}/#{room}", "alice")
        await say(alice, "hello")
        assert await bob.hear() == "* alice is here"
        assert await bob.hear() == "alice: hello"
        await bob.say("hi alice")
        await expect(texts(alice)).to_have_text(["hello", "hi alice"])


async def test_a_room_is_shared_by_its_address(people: People, chat: Server, room: str) -> None:
    """Who opens it is in the room, as the title and the list of rooms say; going back leads to the one before."""
    alice = await people.open(f"{chat.base_url}/#{room}", "alice")
    await expect(alice).to_have_title(f"{room} · aiochat")
    await expect(alice.get_by_role("heading", level=1)).to_have_text(room)
    await expect(alice.get_by_role("navigation", name="Rooms").locator("[aria-current=page]")).to_contain_text(room)
    await say(alice, f"/join {room}-two")
    await expect(alice).to_have_url(f"{chat.base_url}/#{room}-two")
    bob = await people.open(alice.url, "bob")
    await say(bob, "found it")
    await expect(texts(alice)).to_have_text(["found it"])
    await alice.go_back()
    await expect(alice.get_by_role("heading", level=1)).to_have_text(room)
    await expect(alice.locator("#_timeline")).not_to_contain_text("found it")


async def test_a_reload_keeps_name_and_rooms(people: People, chat: Server, room: str) -> None:
    """And what was said is there again, each line once."""
    alice = await people.open(f"{chat.base_url}/#{room}", "alice")
    await say(alice, f"/join {room}-two", "hello")
    await expect(texts(alice)).to_have_text(["hello"])
    await alice.reload()
    await until_online(alice)
    await expect(alice.locator("#_me")).to_contain_text("alice")
    await expect(texts(alice)).to_have_text(["hello"])
    await expect(
        alice.get_by_role("navigation", name="Rooms").get_by_role("link", name=room, exact=True)
    ).to_be_visible()


async def test_what_is_said_in_another_room_is_counted(people: People, chat: Server, room: str) -> None:
    """Beside its name and in the title, until one looks at it."""
    alice = await people.open(f"{chat.base_url}/#{room}", "alice")
    await say(alice, f"/join {room}-two")
    await expect(alice.get_by_role("heading", level=1)).to_have_text(f"{room}-two")
    async with aiochat.connect(chat.ws_url, name="bob", rooms=[room]) as bob:
        for number in range(3):
            await bob.publish(room, f"line {number}")
    unread = alice.get_by_role("link", name=f"{room}, 3 unread")
    await expect(unread).to_be_visible()
    await expect(alice).to_have_title(f"(3) {room}-two · aiochat")
    await unread.click()
    await expect(texts(alice)).to_have_text(["line 0", "line 1", "line 2"])
    await expect(alice).to_have_title(f"{room} · aiochat")
    await expect(alice.get_by_role("link", name=room, exact=True)).to_be_visible()


async def test_typing_is_shown_to_the_others(people: People, chat: Server, room: str) -> None:
    """While it lasts, by name."""
    url = f"{chat.base_url}/#{room}"
    alice, bob = await people.open(url, "alice"), await people.open(url, "bob")
    await alice.locator("#_line").press_sequentially("hel")
    await expect(bob.locator("#_whisper")).to_contain_text("alice is typing")
    await alice.locator("#_line").press("Enter")
    await expect(texts(bob)).to_have_text(["hel"])
    await expect(bob.locator("#_whisper")).not_to_contain_text("typing")


async def test_commands_do_what_they_do_in_a_terminal(people: People, chat: Server, room: str) -> None:
    """The page answers in the log; who is meant by one, hears it; what is no command is not said to anybody."""
    url = f"{chat.base_url}/#{room}"
    alice, bob = await people.open(url, "alice"), await people.open(url, "bob")
    log = alice.locator("#_timeline")
    await say(alice, "/nick carol")
    await expect(alice.locator("#_me")).to_contain_text("carol")
    await say(alice, "/me waves")
    await expect(bob.locator("#_timeline .message.action")).to_contain_text("waves")
    await say(alice, "/who")
    await expect(log.locator(".notice").last).to_contain_text("bob")
    await say(alice, "/help")
    await expect(log).to_contain_text("/nick")
    await say(alice, "/nosuchcommand")
    await expect(log.locator(".notice.error")).to_contain_text("/nosuchcommand")
    await say(alice, "/msg bob psst")
    await expect(bob.locator("#_timeline")).to_contain_text("psst")
    await say(alice, "//slash")
    await expect(texts(bob).last).to_have_text("/slash")
    await expect(bob.locator("#_timeline")).not_to_contain_text("nosuchcommand")


async def test_what_was_refused_can_be_sent_again(people: People, chat: Server, room: str) -> None:
    """It says that it was not sent, and why; "Retry" sends it, and the others see it once."""
    refusals = ["the history is not available"]

    def through(route: WebSocketRoute) -> None:
        far = route.connect_to_server()

        def pass_on(data: str | bytes) -> None:
            command = json.loads(data) if str(data).startswith('{"type":"publish"') else None
            if command is None or not refusals:
                return far.send(data)
            reason = refusals.pop()
            error = {"type": "error", "id": command["id"], "command": "publish", "code": "forbidden", "reason": reason}
            return route.send(json.dumps(error))

        route.on_message(pass_on)

    url = f"{chat.base_url}/#{room}"
    bob = await people.open(url, "bob")
    alice = await people.blank(url, "alice")
    await alice.route_web_socket(re.compile("/ws$"), through)
    await alice.goto(url)
    await say(alice, "hello")
    own = alice.locator("#_timeline .message.own")
    await expect(own).to_contain_text("not sent: the history is not available")
    await own.get_by_role("button", name="Retry").click()
    await expect(own).to_have_attribute("data-state", "sent")
    await expect(own).not_to_contain_text("not sent")
    await say(alice, "again")
    await expect(texts(bob)).to_have_text(["hello", "again"])


async def test_addresses_become_links(people: People, chat: Server, room: str) -> None:
    """Only those of the web, to a page of its own that learns nothing of this one; the text stays what was typed."""
    line = "see https://example.com/a_(b)?c=1#d. or http://example.org, not javascript:alert(1) nor ftp://example.com"
    alice = await people.open(f"{chat.base_url}/#{room}", "alice")
    await say(alice, line)
    await expect(texts(alice)).to_have_text(line)
    links = texts(alice).locator("a")
    await expect(links).to_have_count(2)
    assert [await link.get_attribute("href") for link in await links.all()] == [
        "https://example.com/a_(b)?c=1#d",
        "http://example.org/",
    ]
    for link in await links.all():
        assert await link.get_attribute("target") == "_blank"
        assert "noopener" in (await link.get_attribute("rel") or "")


async def test_the_session_is_in_no_storage(people: People, chat: Server, room: str) -> None:
    """A copy of the tab, which has a copy of its storage, is another client; it does not take the session."""
    tokens: list[str] = []
    url = f"{chat.base_url}/#{room}"
    page = await people.blank(url, "alice")
    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: tokens.extend(_tokens(data))))
    await page.goto(url)
    await until_online(page)
    async with page.expect_popup() as popup:
        await page.evaluate("void window.open(location.href)")
    copy = await popup.value
    await until_online(copy)
    await say(copy, "hello from the copy")
    await expect(texts(page)).to_have_text(["hello from the copy"])
    await expect(page.locator("#_timeline .message.own")).to_have_count(0)
    await say(page, "hello from the first")
    await expect(texts(copy)).to_have_text(["hello from the copy", "hello from the first"])
    assert tokens
    assert not [token for token in tokens if token in await _stored(page)]


def _tokens(data: str | bytes) -> list[str]:
    return re.findall(r'"resume":"([^"]+)"', str(data))


async def _stored(page: Page) -> str:
    return str(
        await page.evaluate(
            "async () => JSON.stringify([localStorage, sessionStorage, document.cookie, await indexedDB.databases()])"
        )
    )


async def test_a_link_with_an_access_token_signs_in(people: People) -> None:
    """The page is the token's user, in the token's room; a reload keeps it, and the address shows nothing of it."""
    async with running(settings=REQUIRED) as server:
        token = minted(rooms=["team-a"], join=["team-*"])
        page = await people.open(f"{server.base_url}/#token={token}")
        await expect(page.get_by_role("heading", level=1)).to_have_text("team-a")
        await expect(page.get_by_role("complementary", name="People").locator(".name")).to_have_text("alice")
        await page.reload()
        await until_online(page)
        assert token not in page.url
        assert token not in await page.evaluate("() => JSON.stringify(localStorage)")


async def test_a_token_that_is_refused_is_forgotten(people: People) -> None:
    """Coming back leads in as a guest where guests are let in, and not to the same refusal again."""
    async with running(settings=OPTIONAL) as server:
        page = await people.blank(server.base_url)
        await page.goto(f"{server.base_url}/#token={ending(-1)}")
        await expect(page.locator("#_banner")).to_contain_text("Sign in")
        await page.get_by_role("button", name="Come back").click()
        await until_online(page)
