"""The files in config/ with which it is deployed: each is checked by its own tool or run, and they fit each other."""

import asyncio
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import pytest
import trustme
import yaml
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

import aiochat
from aiochat.config import Config, load
from aiochat.limits.budgets import RESERVED_DESCRIPTORS
from tests.raw import until
from tests.servers import Server, free_port, running
from tests.sockets import asked

CHECKOUT: Final = Path(__file__).parent.parent
CONFIG: Final = CHECKOUT / "config"
PRODUCTION: Final = load(CONFIG / "production.toml")
NAME: Final = "chat.example"
CLIENT: Final = "127.0.0.2"  # the proxies are at 127.0.0.1


def needs(tool: str) -> pytest.MarkDecorator:
    """Skip where there is no such tool."""
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"needs {tool}: sudo make deployment-parts")


def changed(file: str, changes: Mapping[str, str]) -> str:
    """What a file of ours says, with what a test must change: each stands in it."""
    text = (CONFIG / file).read_text(encoding="utf-8")
    for ours, theirs in changes.items():
        assert ours in text, ours
        text = text.replace(ours, theirs)
    return text


def longest_stop_seconds(config: Config) -> float:
    """From SIGTERM to the end, as the documentation promises it."""
    return config.server.unready_seconds + config.server.drain_seconds + 1


# Behind a proxy.


class Proxy(NamedTuple):
    """A running proxy in front of a server; `log` is all that it has written so far."""

    port: int
    log: Callable[[], str]


class Loopback(AbstractResolver):
    """Every name is this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = {
            "hostname": host,
            "host": "127.0.0.1",
            "port": port,
            "family": socket.AF_INET,
            "proto": 0,
            "flags": 0,
        }
        return [ResolveResult(**address)]  # type: ignore[typeddict-item]

    async def close(self) -> None:
        """There is nothing to close."""


class Certificate(NamedTuple):
    """For the name, in files as a proxy wants them."""

    authority: trustme.CA
    chain: Path
    key: Path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One that its own authority has signed."""
    authority, folder = trustme.CA(), tmp_path_factory.mktemp("certificate")
    issued = authority.issue_cert(NAME)
    chain, key = folder / "fullchain.pem", folder / "key.pem"
    issued.cert_chain_pems[0].write_to_path(chain)
    issued.private_key_pem.write_to_path(key)
    return Certificate(authority, chain, key)


@asynccontextmanager
async def started(port: int, logs: list[Path], *command: str, **environment: str) -> AsyncIterator[Proxy]:
    """The proxy of this command, once it listens on the port; it writes to the first of `logs`, or to the others."""
    with logs[0].open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, **environment}, stdout=output, stderr=output
        )

    def log() -> str:
        return "".join(path.read_text(encoding="utf-8") for path in logs if path.exists())

    def listens() -> bool:
        assert process.returncode is None, log()
        with socket.socket() as dialling:
            return dialling.connect_ex(("127.0.0.1", port)) == 0

    try:
        await until(listens)
        yield Proxy(port, log)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def nginx(server: Server, folder: Path, certificate: Certificate) -> AbstractAsyncContextManager[Proxy]:
    """As in config/nginx.conf."""
    port = free_port()
    ours = {
        "listen 80;": f"listen 127.0.0.1:{free_port()};",
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "listen [::]:80;": "",
        "listen [::]:443 ssl;": "",
        "127.0.0.1:8080": f"127.0.0.1:{server.port}",
        f"/etc/ssl/{NAME}": str(certificate.chain.parent),
        "/var/log/nginx": str(folder),
    }
    (folder / "aiochat.conf").write_text(changed("nginx.conf", ours))
    kept = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    main = folder / "nginx.conf"
    main.write_text(
        f"daemon off; master_process off; pid {folder}/pid; events {{}} "
        f"http {{ {''.join(f'{kind}_temp_path {folder}/{kind}; ' for kind in kept)} include {folder}/aiochat.conf; }}"
    )
    logs = [folder / name for name in ("output", "aiochat.log", "aiochat-error.log")]
    return started(port, logs, "nginx", "-e", "stderr", "-p", str(folder), "-c", str(main))


def caddy(server: Server, folder: Path, certificate: Certificate) -> AbstractAsyncContextManager[Proxy]:
    """As in config/Caddyfile."""
    port = free_port()
    ours = {
        "{\n\tlog {": "{\n\tadmin off\n\tauto_https disable_redirects\n\tlog {",
        f"{NAME} {{": f"https://{NAME}:{port} {{\n\tbind 127.0.0.1\n\ttls {certificate.chain} {certificate.key}",
        "127.0.0.1:8080": f"127.0.0.1:{server.port}",
    }
    file = folder / "Caddyfile"
    file.write_text(changed("Caddyfile", ours))
    command = ("caddy", "run", "--adapter", "caddyfile", "--config", str(file))
    home = {name: str(folder) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    return started(port, [folder / "output"], *command, **home)


@asynccontextmanager
async def browser(proxy: Proxy, certificate: Certificate) -> AsyncIterator[aiohttp.ClientSession]:
    """Elsewhere than the proxy, which it knows by name."""
    tls = ssl.create_default_context()
    certificate.authority.configure_trust(tls)
    connector = aiohttp.TCPConnector(resolver=Loopback(), ssl=tls, local_addr=(CLIENT, 0))
    async with aiohttp.ClientSession(f"https://{NAME}:{proxy.port}", connector=connector) as session:
        yield session


async def chat_through(proxy: Proxy, http: aiohttp.ClientSession, server: Server) -> None:
    """Two pages of the own origin talk; the server knows them by their own address, whatever they state."""
    options: dict[str, Any] = {
        "protocols": ("aiochat.v1.text", "bearer.s3cr3t"),
        "headers": {"Origin": f"https://{NAME}:{proxy.port}", "X-Forwarded-For": "6.6.6.6"},
    }
    async with http.ws_connect("/ws?token=s3cr3t", **options) as one, http.ws_connect("/ws", **options) as two:
        await one.send_str("hello")
        assert await two.receive_str(timeout=30) == "hello"
    await server.logged("connection_opened", count=2, address=CLIENT)


async def refuse_foreign_pages(http: aiohttp.ClientSession, server: Server) -> None:
    """Through the proxy, too, an origin is another's."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect("/ws", headers={"Origin": "https://evil.example"})
    assert refused.value.status == 403
    await server.logged("request_refused", status=403, address=CLIENT)


@pytest.mark.parametrize("kind", [pytest.param(nginx, marks=needs("nginx")), pytest.param(caddy, marks=needs("caddy"))])
async def test_behind_a_proxy_all_is_as_in_front_of_it(
    kind: Callable[..., AbstractAsyncContextManager[Proxy]], tmp_path: Path, certificate: Certificate
) -> None:
    """Chat, page, origin and address, with the settings for production; and no token is in the proxy's log."""
    settings = {"server.internal_port": 0, "server.trusted_proxies": ["127.0.0.1"]}
    async with (
        running(config=CONFIG / "production.toml", settings=settings) as server,
        kind(server, tmp_path, certificate) as proxy,
        browser(proxy, certificate) as http,
    ):
        await chat_through(proxy, http, server)
        await refuse_foreign_pages(http, server)
        async with http.get("/?token=s3cr3t") as page:
            assert (page.status, page.headers["Cache-Control"]) == (200, "no-cache")
        async with http.get("/metrics") as metrics:
            assert metrics.status != 200
        await server.stop()
        async with http.get("/ws?token=s3cr3t") as nobody:
            assert nobody.status == 502
        await until(lambda: "502" in proxy.log())
    assert "/ws" in proxy.log()
    assert "s3cr3t" not in proxy.log() + str(server.log)


# systemd.


def unit() -> dict[str, list[str]]:
    """The settings of aiochat.service, each with all its values."""
    settings: dict[str, list[str]] = {}
    for key, value in re.findall(
        r"^(\w+)=(.*)$", (CONFIG / "aiochat.service").read_text(encoding="utf-8"), re.MULTILINE
    ):
        settings.setdefault(key, []).append(value)
    return settings


@needs("systemd-analyze")
@pytest.mark.parametrize("command", [["verify"], ["security", "--offline=true", "--threshold=20"]])
def test_systemd_takes_the_unit(command: list[str], tmp_path: Path) -> None:
    """It finds nothing wrong in it, and calls it well shut off: 2.0 of 10 at most."""
    file = tmp_path / "aiochat.service"
    file.write_text(changed("aiochat.service", {"ExecStart=/opt/aiochat/bin/aiochat": "ExecStart=/bin/true"}))
    result = subprocess.run(
        ["systemd-analyze", "--no-pager", *command, str(file)], capture_output=True, text=True, check=False, timeout=50
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert not result.stderr, result.stderr


def test_the_unit_fits_the_server() -> None:
    """Time to stop, files for its clients, a directory for its history, a watch over it."""
    settings = unit()
    assert settings["Type"] == ["notify"]
    assert float(settings["TimeoutStopSec"][0]) > longest_stop_seconds(PRODUCTION)
    assert int(settings["LimitNOFILE"][0]) >= PRODUCTION.limits.max_clients + RESERVED_DESCRIPTORS
    assert float(settings["WatchdogSec"][0]) >= 10
    assert settings["Environment"] == [
        f"AIOCHAT_STORE__URL=sqlite:////var/lib/{settings['StateDirectory'][0]}/aiochat.db"
    ]
    assert settings["KillMode"] == ["mixed"]  # a SIGTERM for all would end what writes the file, too


# The container.


def instructions() -> list[tuple[str, list[str]]]:
    """Those of the Dockerfile, with their words."""
    text = re.sub(r"^#.*\n|\\\n", "", (CONFIG / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [(words[0], words[1:]) for line in text.splitlines() if (words := shlex.split(line))]


def last_stage() -> list[tuple[str, list[str]]]:
    """What is in the image at the end."""
    steps = instructions()
    return steps[max(place for place, (name, _) in enumerate(steps) if name == "FROM") :]


def test_the_image_is_built_of_what_is_there() -> None:
    """Each file that is copied exists and is let through to the builder; pip is told the pinned versions."""
    ignored = (CHECKOUT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    let_through = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    sources = [
        source
        for name, words in instructions()
        if name == "COPY" and not words[0].startswith("--from")
        for source in words[:-1]
    ]
    assert sources
    for source in sources:
        assert (CHECKOUT / source).exists(), source
        assert any(fnmatchcase(source, pattern) or source.startswith(f"{pattern}/") for pattern in let_through), source
    (installs,) = [
        words for name, words in instructions() if name == "RUN" and "install" in words and "pip" in words[0]
    ]
    assert installs[installs.index("--constraint") + 1] == "constraints.txt"


def test_the_image_holds_the_program_and_nothing_to_build_it() -> None:
    """Of several stages the last one installs nothing, and it runs as nobody in particular."""
    stage = last_stage()
    assert sum(name == "FROM" for name, _ in instructions()) == 2
    assert not [words for name, words in stage if name == "RUN" and {"pip", "apt-get"} & set(words)]
    (user,) = [words[0] for name, words in stage if name == "USER"]
    assert int(user.partition(":")[0]) >= 10000
    assert [words for name, words in stage if name == "ENTRYPOINT"] == [["[aiochat]"]]  # and no shell, as PID 1


def test_the_image_fits_the_server() -> None:
    """Its ports, its question for health, its directory and the settings that it starts with."""
    stage = dict(last_stage())
    assert stage["EXPOSE"] == [str(PRODUCTION.server.port), str(PRODUCTION.server.internal_port)]
    assert f":{PRODUCTION.server.internal_port}/healthz" in " ".join(stage["HEALTHCHECK"])
    assert f"AIOCHAT_STORE__URL=sqlite:///{stage['VOLUME'][0]}/aiochat.db" in stage["ENV"]
    copied = [words for name, words in last_stage() if name == "COPY" and words[0] == "config/production.toml"]
    assert copied[0][1] in " ".join(stage["CMD"])


# Kubernetes.


@pytest.fixture(scope="module")
def objects() -> dict[str, Any]:
    """Those of kubernetes.yaml by their kind, of which there is one each."""
    documents = list(yaml.safe_load_all((CONFIG / "kubernetes.yaml").read_text(encoding="utf-8")))
    assert len({document["kind"] for document in documents}) == len(documents)
    return {document["kind"]: document for document in documents}


@pytest.fixture
def pod(objects: dict[str, Any]) -> Any:
    """What is in the one deployment."""
    return objects["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture
def in_the_pod(pod: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    """The settings in force there: the image's, with the pod's variables over them."""
    for variable in pod["containers"][0]["env"]:
        monkeypatch.setenv(variable["name"], variable.get("value", ""))
    return load(CONFIG / "production.toml")  # type: ignore[return-value]


def test_the_pod_fits_the_server(pod: Any, in_the_pod: Config) -> None:
    """Its variables are settings, its ports are those, and it has the time that a stop takes."""
    (container,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": in_the_pod.server.port, "internal": in_the_pod.server.internal_port}
    assert pod["terminationGracePeriodSeconds"] > longest_stop_seconds(in_the_pod)
    readiness = container["readinessProbe"]
    assert readiness["periodSeconds"] * readiness["failureThreshold"] < in_the_pod.server.unready_seconds
    assert pod["enableServiceLinks"] is False  # their variables begin with AIOCHAT_, and are no settings
    (mount,) = container["volumeMounts"]
    assert mount["mountPath"] == dict(last_stage())["VOLUME"][0]


def test_the_pod_asks_where_the_server_answers(pod: Any) -> None:
    """Each probe is a route on the internal port, as is what Prometheus reads."""
    internal = web.Application()
    aiochat.setup(web.Application(), load(), internal=internal)
    routes = {resource.canonical for resource in internal.router.resources()}
    assert "/metrics" in routes
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        asks = pod["containers"][0][kind]["httpGet"]
        assert asks["path"] in routes
        assert asks["port"] == "internal"


def test_the_pod_may_do_nothing_but_serve(pod: Any) -> None:
    """The user of the image, no privilege, nothing to write to but its volume."""
    (container,) = pod["containers"]
    user, _, group = dict(last_stage())["USER"][0].partition(":")
    outer, inner = pod["securityContext"], container["securityContext"]
    assert (outer["runAsUser"], outer["runAsGroup"], outer["fsGroup"]) == (int(user), int(group), int(group))
    assert outer["runAsNonRoot"]
    assert inner["readOnlyRootFilesystem"]
    assert not inner["allowPrivilegeEscalation"]
    assert inner["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False


@pytest.mark.asyncio(loop_scope="session")
async def test_all_objects_are_of_the_one_deployment(objects: dict[str, Any], shared: Server) -> None:
    """Selectors select it, its volume is claimed, it scales by a metric that there is; with SQLite to one pod."""
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [objects["Service"]["spec"]["selector"]]
    selectors += [objects[kind]["spec"]["selector"]["matchLabels"] for kind in ("Deployment", "PodDisruptionBudget")]
    assert selectors == [labels] * 3
    (volume,) = objects["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == objects["PersistentVolumeClaim"]["metadata"]["name"]
    scaling = objects["HorizontalPodAutoscaler"]["spec"]
    assert scaling["scaleTargetRef"]["name"] == objects["Deployment"]["metadata"]["name"]
    assert scaling["maxReplicas"] == 1
    metric = scaling["metrics"][0]["pods"]["metric"]["name"]
    answer = await asked(shared, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert f"\n{metric} ".encode() in answer.body
