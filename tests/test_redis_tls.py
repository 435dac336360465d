"""Redis over TLS: an authority of one's own, certificates of clients, and what does not fit, in one line each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest
import trustme

from aiochat.errors import StartError
from aiochat.roomlog.engines import make_log
from tests import redis_server
from tests.roomlogs import config_of, opened, said
from tests.servers import free_port

PASSWORD: Final = "hunter2-and-more"


class Secured(NamedTuple):
    """A Redis that speaks TLS alone, by the name localhost; where the files of both sides are."""

    port: int
    files: Path

    def url(self, query: str, *, scheme: str = "rediss", host: str = "localhost") -> str:
        """`query` may name files."""
        return f"{scheme}://:{PASSWORD}@{host}:{self.port}/0{query.format(files=self.files)}"


@pytest.fixture(scope="module", params=["no", "yes"], ids=["anybody", "with-certificate"])
def secured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """With and without asking clients for a certificate, which Redis does unless it is told not to."""
    authority, other, files = trustme.CA(), trustme.CA(), tmp_path_factory.mktemp("certificates")
    authority.cert_pem.write_to_path(str(files / "ca.pem"))
    other.cert_pem.write_to_path(str(files / "other.pem"))
    for name, certificate in (("redis", authority.issue_cert("localhost")), ("chat", authority.issue_cert("chat"))):
        certificate.cert_chain_pems[0].write_to_path(str(files / f"{name}.pem"))
        certificate.private_key_pem.write_to_path(str(files / f"{name}.key"))
    port = free_port()
    with redis_server.running(
        *("--bind", "127.0.0.1", "--requirepass", PASSWORD, "--tls-port", str(port)),
        *("--tls-cert-file", str(files / "redis.pem"), "--tls-key-file", str(files / "redis.key")),
        *("--tls-ca-cert-file", str(files / "ca.pem"), "--tls-auth-clients", request.param),
    ):
        yield Secured(port, files)


CA: Final = "?ssl_ca_certs={files}/ca.pem"
CERTIFICATE: Final = f"{CA}&ssl_certfile={{files}}/chat.pem&ssl_keyfile={{files}}/chat.key"


async def _refusal(url: str) -> str:
    """The line with which a start on it ends."""
    with pytest.raises(StartError) as refused:
        await make_log(config_of(url, wait_seconds=1)).open(lambda _: None)
    return str(refused.value)


async def test_redis_is_spoken_to_over_tls(secured: Secured) -> None:
    """Its certificate is held against the authority named, and ours is shown."""
    async with opened(secured.url(CERTIFICATE)) as log:
        await log.append("lobby", "one")
        assert said(await log.read("lobby"))[-1][1] == "one"


@pytest.mark.faults
@pytest.mark.parametrize(
    ("query", "options", "reason"),
    [
        pytest.param("", {}, "self-signed certificate", id="an unknown authority"),
        pytest.param("?ssl_ca_certs={files}/other.pem", {}, "certificate", id="another authority"),
        pytest.param(CERTIFICATE, {"host": "127.0.0.1"}, "not valid for '127.0.0.1'", id="another name"),
        pytest.param("", {"scheme": "redis"}, "it speaks TLS: rediss://", id="not over TLS"),
    ],
)
async def test_a_redis_that_is_not_the_one_named_ends_the_start(
    secured: Secured, capsys: pytest.CaptureFixture[str], query: str, options: dict[str, str], reason: str
) -> None:
    """One line says where and why; the password was neither sent nor is it shown."""
    line = await _refusal(secured.url(query, **options))
    assert line.startswith(f"store.url: Redis at {options.get('host', 'localhost')}:{secured.port} cannot be used: ")
    assert reason in line
    assert "\n" not in line
    assert PASSWORD not in line + "".join(capsys.readouterr())


@pytest.mark.faults
@pytest.mark.parametrize("secured", ["yes"], indirect=True)
async def test_a_certificate_that_redis_wants_and_is_not_shown_ends_the_start(secured: Secured) -> None:
    """Redis says so after the handshake."""
    line = await _refusal(secured.url(CA))
    assert line.startswith(f"store.url: Redis at localhost:{secured.port} cannot be used: ")


@pytest.mark.faults
async def test_tls_with_a_redis_that_speaks_none_ends_the_start() -> None:
    """With one line, too."""
    port = free_port()
    with redis_server.running("--bind", "127.0.0.1", "--port", str(port)):
        line = await _refusal(f"rediss://:{PASSWORD}@127.0.0.1:{port}")
    assert line.startswith(f"store.url: Redis at 127.0.0.1:{port} cannot be used: ")
    assert ("\n" in line, PASSWORD in line) == (False, False)


@pytest.mark.parametrize(
    ("query", "file"),
    [
        ("?ssl_ca_certs={files}/none.pem", "none.pem"),
        ("?ssl_ca_certs={files}/chat.key", "chat.key"),
        ("?ssl_certfile={files}/chat.pem", "chat.pem"),
        ("?ssl_certfile={files}/chat.pem&ssl_keyfile={files}/redis.key", "chat.pem"),
    ],
)
async def test_a_file_that_is_of_no_use_is_named(secured: Secured, query: str, file: str) -> None:
    """Before anything is connected: one that is missing, is none, has no key, or the key of another."""
    line = await _refusal(secured.url(query))
    assert line.startswith(f"store.url: {secured.files}/{file} cannot be used: ")
