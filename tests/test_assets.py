"""The page and its files over HTTP: where they are, how long they may be kept, compressed or not, and the policy."""

import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

import aiochat
from aiochat.http.assets import Assets
from tests.servers import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")

WEB = Path(aiochat.__file__).parent / "web"
SERVED = sorted(file.name for file in WEB.iterdir() if file.suffix in {".css", ".js", ".svg", ".ts"})
MODULES = [name for name in SERVED if name.endswith(".js")]
KEPT_FOR_EVER = "public, max-age=31536000, immutable"


@pytest_asyncio.fixture(loop_scope="session")
async def http(shared: Server) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser that shows what was sent as it was sent."""
    async with aiohttp.ClientSession(shared.base_url, auto_decompress=False) as session:
        yield session


@pytest_asyncio.fixture(loop_scope="session")
async def folder(http: aiohttp.ClientSession) -> str:
    """Where the page's own files are: a folder named by their hash."""
    page = await (await http.get("/", headers={"Accept-Encoding": "identity"})).text()
    folders = set(re.findall(r'(?:src|href)="(web/[0-9a-f]{16})/[\w.-]+"', page))
    assert len(folders) == 1
    return f"/{folders.pop()}"


async def test_the_page_names_no_file_without_the_hash(http: aiohttp.ClientSession) -> None:
    """Nor one of another host; there is nothing inline."""
    answer = await http.get("/", headers={"Accept-Encoding": "identity"})
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    page = await answer.text()
    assert "<title>aiochat</title>" in page
    named = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(named) >= 3
    assert [name for name in named if not re.fullmatch(r"web/[0-9a-f]{16}/[\w.-]+|#.*", name)] == []
    assert not re.search(r"<script>|<style|\son[a-z]+=|\sstyle=", page)


@pytest.mark.parametrize("name", SERVED)
async def test_what_the_page_needs_is_kept_for_ever(http: aiohttp.ClientSession, folder: str, name: str) -> None:
    """A year and immutable: what changes has another address."""
    answer = await http.get(f"{folder}/{name}")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == KEPT_FOR_EVER
    assert gzip.decompress(await answer.read()) == (WEB / name).read_bytes()


@pytest.mark.parametrize("name", MODULES)
async def test_what_a_module_imports_is_beside_it(http: aiohttp.ClientSession, folder: str, name: str) -> None:
    """At the address that a browser makes of the relative one; nothing comes from elsewhere."""
    text = (WEB / name).read_text()
    for imported in re.findall(r'(?:from|import)\s+"([^"]+)"', text):
        assert imported.startswith("./"), imported
        assert (await http.get(str(URL(f"{folder}/{name}").join(URL(imported))))).status == 200, imported
    assert not re.search(r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval)\b", text)


async def test_all_modules_are_fetched_at_once(http: aiohttp.ClientSession) -> None:
    """And not each when the browser has read what imports it: the page names them all."""
    page = await (await http.get("/", headers={"Accept-Encoding": "identity"})).text()
    assert sorted(re.findall(r'<(?:script|link)[^>]+/([\w.-]+\.js)"', page)) == MODULES


@pytest.mark.parametrize("path", ["/", "/web/aiochat.js", "/web/aiochat.d.ts"])
async def test_a_lasting_address_is_asked_again_each_time(http: aiohttp.ClientSession, path: str) -> None:
    """With the tag of what the browser has: 304 without a body as long as that is the newest."""
    first = await http.get(path)
    assert (first.status, first.headers["Cache-Control"]) == (200, "no-cache")
    tag = first.headers["ETag"]
    for tags in (tag, f'"other", {tag}', "*"):
        again = await http.get(path, headers={"If-None-Match": tags})
        assert (again.status, await again.read()) == (304, b"")
        assert (again.headers["ETag"], again.headers["Vary"]) == (tag, "Accept-Encoding")
    assert (await http.get(path, headers={"If-None-Match": '"other"'})).status == 200


@pytest.mark.parametrize(
    ("accepted", "is_zipped"),
    [
        ("gzip, deflate, br, zstd", True),
        ("br, GZIP ; q=0.5", True),
        ("gzip;q=1.0", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, br", False),
        ("br, not-gzip", False),
        ("identity", False),
        ("", False),
    ],
)
async def test_it_is_compressed_for_who_takes_that(
    http: aiohttp.ClientSession, folder: str, accepted: str, is_zipped: bool
) -> None:
    """As Accept-Encoding says; caches are told that it depends on it; both are the same file under the same tag."""
    answer = await http.get(f"{folder}/aiochat.js", headers={"Accept-Encoding": accepted})
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers.get("Content-Encoding") == ("gzip" if is_zipped else None)
    body = await answer.read()
    assert len(body) == answer.content_length
    assert (gzip.decompress(body) if is_zipped else body) == (WEB / "aiochat.js").read_bytes()


@pytest.mark.parametrize("name", ["aiochat.js", "aiochat.d.ts"])
async def test_pages_of_others_may_import_the_client(http: aiohttp.ClientSession, name: str) -> None:
    """From its lasting address, whatever their origin is."""
    answer = await http.get(f"/web/{name}", headers={"Origin": "https://elsewhere.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert gzip.decompress(await answer.read()) == (WEB / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("aiochat.js", "text/javascript"), ("aiochat.d.ts", "application/typescript"), ("icon.svg", "image/svg+xml")],
)
async def test_every_file_says_what_it_is(http: aiohttp.ClientSession, folder: str, name: str, expected: str) -> None:
    """Its type and charset, in both places, whatever the system's own table of types says."""
    for path in (f"{folder}/{name}", f"/web/{name}"):
        assert (await http.get(path)).headers["Content-Type"] == f"{expected}; charset=utf-8"


async def test_the_policy_lets_in_nothing_but_the_pages_own_files(http: aiohttp.ClientSession, folder: str) -> None:
    """No inline script or style, no other host, no frame around it, no string made markup; on the files too."""
    for path in ("/", f"{folder}/icon.svg"):
        headers = (await http.get(path)).headers
        policy = dict(part.split(maxsplit=1) for part in headers["Content-Security-Policy"].split("; "))
        assert {name for name, value in policy.items() if value == "'self'"} == {
            *("script-src", "style-src", "img-src", "connect-src")
        }
        assert {name for name, value in policy.items() if value == "'none'"} == {
            *("default-src", "base-uri", "form-action", "frame-ancestors", "trusted-types")
        }
        assert policy["require-trusted-types-for"] == "'script'"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "camera=()" in headers["Permissions-Policy"]


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/web/",
            "/web/0123456789abcdef/aiochat.js",
            "/web/index.html",
            "/web/package.json",
            "/web/%2e%2e%2fassets.py",
        ),
        *(
            "{}/",
            "{}/nothing.js",
            "{}/index.html",
            "{}/..%2f..%2fassets.py",
            "{}/%2e%2e/%2e%2e/assets.py",
            "{}/a%00.js",
        ),
    ],
)
async def test_nothing_else_is_there(http: aiohttp.ClientSession, folder: str, path: str) -> None:
    """Neither another version's files nor what lies beside the page's own."""
    assert (await http.get(URL(path.format(folder), encoded=True))).status == 404


async def test_a_change_in_any_file_is_another_address(tmp_path: Path) -> None:
    """And with it another page; the same files have the same address on every machine."""
    (tmp_path / "index.html").write_text('<script type="module" src="web/chat.js"></script>')
    pages = []
    for text in ("one", "two", "one"):
        (tmp_path / "chat.js").write_text(text)
        app = web.Application()
        app.add_routes(Assets("/ws", tmp_path).routes("/chat"))
        async with TestClient(TestServer(app)) as client:
            pages.append(await (await client.get("/chat/")).text())
            file = re.findall(r'src="(.+)"', pages[-1])[0]
            assert await (await client.get(f"/chat/{file}")).text() == text
    assert pages[0] == pages[2] != pages[1]


async def test_the_page_is_told_where_the_websocket_is() -> None:
    """Relative to itself, so that it is found below a prefix, and behind a proxy that takes one off."""
    app = web.Application()
    app.add_routes(Assets("/talk/ws").routes("/chat"))
    async with TestClient(TestServer(app)) as client:
        assert '<html lang="en" data-websocket="talk/ws">' in await (await client.get("/chat/")).text()


async def test_all_of_the_page_is_small(http: aiohttp.ClientSession, folder: str) -> None:
    """What a browser fetches for it stays under 60 kB in all."""
    needed = [name for name in SERVED if not name.endswith(".ts")]
    answers = [await http.get(path) for path in ("/", *(f"{folder}/{name}" for name in needed))]
    assert sum([len(await answer.read()) for answer in answers]) < 60_000
