"""What the servers are made of: why a part is not there, and which version of it is."""

import importlib.util
import json
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

import aiochat
from benchmarks import nchan

NODE_MODULES: Final = Path(__file__).resolve().parent / "node_modules"
GORILLA_PACKAGE: Final = "golang-github-gorilla-websocket-dev"
NCHAN_PACKAGE: Final = "libnginx-mod-nchan"


class Parts(NamedTuple):
    """`missing` says in one line why the server cannot run here, or None; `version` is asked for if it can."""

    missing: Callable[[], str | None]
    version: Callable[[], str]


def python(*packages: str) -> Parts:
    """Distributions, the most telling one first; each is imported by its name, but for python-socketio."""

    def missing() -> str | None:
        absent = [each for each in packages if not importlib.util.find_spec(each.removeprefix("python-"))]
        return f"the Python package {absent[0]} is not installed" if absent else None

    def version() -> str:
        numbered = [f"{each} {metadata.version(each)}" for each in packages]
        return _listed(*numbered, f"Python {platform.python_version()}")

    return Parts(missing, version)


def own() -> Parts:
    peers = python("aiohttp", "uvloop")
    return Parts(peers.missing, lambda: _listed(f"aiochat {aiochat.__version__}", peers.version()))


def node(package: str) -> Parts:
    folder = NODE_MODULES / package

    def missing() -> str | None:
        if not shutil.which("node"):
            return "there is no node on the PATH"
        return None if folder.is_dir() else f"{package} is not installed: npm install --prefix benchmarks"

    def version() -> str:
        described = json.loads((folder / "package.json").read_bytes())
        return _listed(f"{package} {described['version']}", f"Node.js {_printed('node', '--version').lstrip('v')}")

    return Parts(missing, version)


def gorilla(program: Path) -> Parts:
    def missing() -> str | None:
        return None if program.exists() else f"it is not built, which takes Go and Debian's {GORILLA_PACKAGE}"

    def version() -> str:
        go = re.search(r"go[\d.]+", _printed("go", "version"))
        return _listed(f"gorilla/websocket {_of_debian(GORILLA_PACKAGE)}", go[0].replace("go", "Go ") if go else "")

    return Parts(missing, version)


def nginx() -> Parts:
    def version() -> str:
        number = re.search(r"nginx/([\d.]+)", _printed(nchan.nginx() or "", "-v"))
        return _listed(f"nchan {_of_debian(NCHAN_PACKAGE)}", f"nginx {number[1]}" if number else "")

    return Parts(nchan.missing, version)


def _of_debian(package: str) -> str:
    """The upstream's part of the package's version: 1.5.0 of 1:1.5.0+dfsg-2."""
    return re.sub(r"^\d+:|[+-].*", "", _printed("dpkg-query", "--show", "--showformat", "${Version}", package))


def _printed(*command: str) -> str:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _listed(*parts: str) -> str:
    return ", ".join(part.strip() for part in parts if part.strip())
