"""`store.url`: which file it names, and what it must not; `aiochat backup`, which takes it."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aiochat.config import load
from aiochat.errors import ConfigError
from aiochat.roomlog.engines import data_path, file_path, make_log
from tests.roomlogs import config_of, opened


def _file(url: str, config: Path | None = None) -> str:
    return data_path(load(config, {"store": {"url": url}}))


def test_a_relative_file_is_relative_to_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the directory of the file that --config names, wherever the server is started; without one, to here."""
    config = tmp_path / "etc" / "chat.toml"
    config.parent.mkdir()
    config.touch()
    monkeypatch.chdir(tmp_path)
    assert _file("sqlite:///var/chat.db") == f"{tmp_path}/var/chat.db"
    assert _file("sqlite:///var/chat.db", config) == f"{tmp_path}/etc/var/chat.db"
    assert _file("sqlite:///var/chat.db", Path("etc/chat.toml")) == f"{tmp_path}/etc/var/chat.db"
    assert load().store.url == f"sqlite:///{tmp_path}/var/aiochat.db"


def test_an_absolute_file_is_what_it_is(tmp_path: Path) -> None:
    """Whatever its name; a name that a URL would escape stands as it is."""
    for name in ("chat.db", "a b%20ü.db"):
        assert _file(f"sqlite:///{tmp_path}/{name}") == f"{tmp_path}/{name}"
    assert file_path(load(flags={"store": {"url": "memory:"}})) is None


@pytest.mark.parametrize(
    "url",
    [
        *("sqlite:", "sqlite://", "sqlite:///", "sqlite://host/chat.db", "sqlite:chat.db", "sqlite:///:memory:"),
        *("sqlite:///var/", "sqlite:///chat.db?mode=ro", "sqlite:///chat.db#1", "sqlite:///chat\0.db"),
    ],
)
def test_what_names_no_file(url: str) -> None:
    """Refused before anything is made, in one line that names the key."""
    with pytest.raises(ConfigError) as refused:
        _file(url)
    assert str(refused.value) == f"store.url: got {url!r}, takes sqlite:///FILE, relative, or sqlite:////FILE, absolute"


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("memory:x", "got 'memory:x', takes memory: with nothing after it"),
        ("redsi://:password@localhost", "got 'redsi://***@localhost', takes a URL that begins with one of memory:, "),
    ],
)
def test_what_no_engine_takes(url: str, line: str) -> None:
    """Refused in one line, which does not repeat what may be a password."""
    with pytest.raises(ConfigError) as refused:
        make_log(config_of(url))
    assert str(refused.value).startswith(f"store.url: {line}")


def _backup(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "aiochat", "backup", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        check=False,
        text=True,
    )


async def _own_and_back_up(directory: Path) -> "subprocess.CompletedProcess[str]":
    async with opened(f"sqlite:///{directory}/chat.db") as log:
        await log.append("a", "one")
        return await asyncio.to_thread(_backup, directory, "copy.db", "--store", "sqlite:///chat.db")


def test_a_backup_by_command(tmp_path: Path) -> None:
    """While the log is open; it says what it wrote, and does not write it twice."""
    done = asyncio.run(_own_and_back_up(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    size = (tmp_path / "copy.db").stat().st_size
    assert done.stdout == f"copy.db holds a copy of {tmp_path}/chat.db, {size:,} bytes\n"
    again = _backup(tmp_path, "copy.db", "--store", "sqlite:///chat.db")
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == "aiochat: copy.db exists: name a file that does not\n"


def test_a_backup_of_nothing(tmp_path: Path) -> None:
    """One line says that there is nothing to copy."""
    nothing = _backup(tmp_path, "copy.db", "--store", "memory:")
    assert nothing.stderr == "aiochat: store.url is memory:, and only a sqlite: file can be copied\n"
    nothing = _backup(tmp_path, "copy.db", "--store", "sqlite:///none.db")
    assert nothing.stderr.startswith(f"aiochat: {tmp_path}/none.db does not exist: ")
    assert list(tmp_path.iterdir()) == []
