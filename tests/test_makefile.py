"""What `make` says and would do, without installing anything, and the pins that it installs from."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
TARGETS = [
    *("help", "run", "run-cluster", "chat", "test", "test-faults", "lint", "audit", "format"),
    *("protocol", "loadtest", "bench", "profile", "lock", "wheel", "parts", "clean"),
]
PIN = re.compile(r"(?P<name>[a-z0-9-]+)==[0-9][0-9a-z.]*( ; [a-z_]+ (==|!=|<) '[A-Za-z0-9.]+')?")


class Clone:
    """The files that make looks at, and a PATH on which there is only what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "programs"
        self.programs.mkdir()
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(CHECKOUT / name, folder)

    def add_program(self, name: str, script: str) -> None:
        program = self.programs / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def add_venv(self) -> None:
        """As after a first `make run`."""
        for name in ("bin/python", ".server", ".loadtest"):
            file = self.folder / ".venv" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        make = shutil.which("make")
        assert make is not None, "the tests need make"
        return subprocess.run(
            [make, "--no-print-directory", *arguments],
            cwd=self.folder,
            env={"PATH": str(self.programs), **environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A clone in which nothing was installed yet."""
    return Clone(tmp_path)


def test_bare_make_lists_the_targets(clone: Clone) -> None:
    """Whoever types `make` sees what there is."""
    clone.add_program("awk", f'exec {shutil.which("awk")} "$@"')
    listed = re.findall(r"^  make (\S+)", clone.make().stdout, re.MULTILINE)
    assert listed == TARGETS


def test_without_python_one_line_says_what_to_install(clone: Clone) -> None:
    """A machine without Python gets the commands to install it, and nothing else."""
    result = clone.make("run")
    assert result.returncode != 0
    assert len((result.stdout + result.stderr).splitlines()) == 1
    assert "sudo apt install python3-venv" in result.stderr
    assert "brew install python" in result.stderr


def test_a_python_that_fails_is_passed_over(clone: Clone) -> None:
    """A pyenv shim that is there but has no Python behind it does not stop the search."""
    clone.add_program("python3.13", "echo 'pyenv: command not found' >&2; exit 127")
    clone.add_program("python3", f'exec "{sys.executable}" "$@"')
    assert "python3 -m venv" in clone.make("-n", "run").stdout


def test_a_python_that_is_too_old_is_passed_over(clone: Clone) -> None:
    """Python 3.10 is refused like none at all."""
    old = "import sys; sys.version_info = (3, 10, 13); exec(sys.argv[1])"
    clone.add_program("python3", f"exec '{sys.executable}' -c '{old}' \"$2\"")
    assert "3.11 or newer" in clone.make("-n", "run").stderr


def test_a_second_run_starts_at_once(clone: Clone) -> None:
    """With everything installed, `make run` does nothing but start the server."""
    clone.add_venv()
    assert clone.make("-n", "run").stdout.strip() == "exec .venv/bin/python -m aiochat serve"


def test_run_passes_on_what_it_is_given(clone: Clone) -> None:
    """PORT, HOST and CONFIG become flags, whatever characters are in them."""
    clone.add_venv()
    started = clone.make("-n", "run", "PORT=9000", "HOST=", "CONFIG=my chat.toml").stdout
    assert started.strip().endswith("serve --config 'my chat.toml' --host '' --port '9000'")


def test_run_ignores_what_the_shell_exports(clone: Clone) -> None:
    """Shells export HOST and NAME for themselves: the server must not listen there."""
    clone.add_venv()
    assert "--host" not in clone.make("-n", "run", HOST="workstation").stdout


def test_chat_has_its_name_room_and_port(clone: Clone) -> None:
    """`make chat` joins the room under the name, on the server that `make run` started."""
    clone.add_venv()
    started = clone.make("-n", "chat", "NAME=bob", "ROOM=kitchen", "PORT=9000").stdout
    assert "--name 'bob'" in started
    assert "--room 'kitchen'" in started
    assert "ws://127.0.0.1:9000/ws" in started


def test_a_load_test_has_its_scenario_clients_and_url(clone: Clone) -> None:
    """What one changes most is a variable each."""
    clone.add_venv()
    started = clone.make("-n", "loadtest", "SCENARIO=storm", "CLIENTS=5000", "SECONDS=3", "URL=ws://127.0.0.1:8080/ws")
    said = " ".join(started.stdout.replace("\\\n", " ").split())
    assert said.endswith("loadtest 'storm' --clients '5000' --seconds '3' --url 'ws://127.0.0.1:8080/ws'")


def test_the_constraints_are_exact_and_nothing_else() -> None:
    """Each line is a name and a version: no address of an index, no hash, no range."""
    lines = (CHECKOUT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#") and not PIN.fullmatch(line)] == []


def test_every_dependency_is_pinned() -> None:
    """Whoever adds a dependency runs `make lock`."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    wanted = sum(project["optional-dependencies"].values(), project["dependencies"])
    pinned = {
        pin["name"] for line in (CHECKOUT / "constraints.txt").read_text().splitlines() if (pin := PIN.match(line))
    }
    assert {re.split(r"[^A-Za-z0-9-]", dependency)[0] for dependency in wanted} <= pinned
