"""The look at every server's log: it finds what must not stand there, and fails the test that ran the server."""

import pytest

from tests.leaks import leaks
from tests.minted import OPTIONAL, minted
from tests.programs import program
from tests.servers import running, talking

TEXT = "what alice tells bob, and nobody else"
# What a line of carelessness would do to a server.
LOGS_TEXT = (
    "from aiochat import inbox; submit = inbox.Inbox.submit; inbox.Inbox.submit = lambda self, client, command, size:"
    " (inbox._log.info('heard', text=command.text), submit(self, client, command, size))[1]"
)
LOGS_URL = (
    "from aiochat.http import admission, handlers; identify = admission.Admission.identify;"
    " admission.Admission.identify = lambda self, request, codec:"
    " (handlers._log.info('came', url=request.path_qs), identify(self, request, codec))[1]"
)


@pytest.mark.parametrize(
    "line",
    [
        f'{{"event": "came", "header": "{minted()}"}}',
        f"GET /ws?token={minted()}",
        "GET /ws?room=a&token=x HTTP/1.1",
        "offered aiochat.v1.json, bearer.abcdef",
        "Authorization: Bearer abcdef",
        f'{{"event": "heard", "text": "{TEXT}"}}',
    ],
)
def test_tokens_and_texts_are_found(line: str) -> None:
    """In whichever form they may come into a line."""
    assert leaks(f'{{"event": "before"}}\n{line}\n', [TEXT])


def test_a_text_is_found_as_json_writes_it() -> None:
    """Quotes and letters beyond ASCII are escaped in a line."""
    assert leaks('{"text": "\\"gr\\u00fc\\u00dfe\\" an alle"}', ['"grüße" an alle'])


def test_usual_lines_are_fine() -> None:
    """Words about tokens are no tokens."""
    usual = '{"event": "request_refused", "code": "unauthorized", "reason": "the token has expired"} Bearer realm="x"'
    assert leaks(usual, [TEXT]) == []


async def talk() -> None:
    """A test like any other, on a server that logs what it hears."""
    async with running(before=LOGS_TEXT) as server, talking(server.ws_url) as alice:
        await alice.say(TEXT)
        assert await alice.hear() == TEXT


async def test_a_server_that_logs_what_people_say_fails_its_test() -> None:
    """At the end, whatever else the test looks at."""
    with pytest.raises(AssertionError, match="the server's log holds"):
        await talk()


async def test_a_server_that_logs_tokens_fails_its_test() -> None:
    """Those in a URL, as access logs do."""
    with pytest.raises(AssertionError, match="the server's log holds"):
        async with (
            running(before=LOGS_URL, settings=OPTIONAL) as server,
            program(server, params={"token": minted()}) as alice,
        ):
            assert (await alice.ask("ping"))["type"] == "pong"
