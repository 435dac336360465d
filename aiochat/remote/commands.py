"""What each command asks of the server, and what it prints."""

import argparse
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from aiochat.config import load
from aiochat.durations import seconds_of
from aiochat.remote.caller import Caller


def run(parsed: argparse.Namespace) -> Iterable[str]:
    """Do it; the lines to print. Raises `ConfigError` or `StartError`."""
    return _COMMANDS[parsed.remote](Caller(load(parsed.config), parsed.url), parsed)


def _rooms(caller: Caller, parsed: argparse.Namespace) -> Iterable[str]:
    rooms = sorted(caller.pages("rooms"), key=lambda room: -room["members"])
    return _table(("members", "room"), rooms)


def _clients(caller: Caller, parsed: argparse.Namespace) -> Iterable[str]:
    clients = caller.pages("clients", {"room": parsed.room or "", "user": parsed.user or ""})
    columns = ("client", "name", "user", "address", "codec", "seconds", "queued_messages", "rooms")
    return _table(columns, sorted(clients, key=lambda client: -client["seconds"]))


def _say(caller: Caller, parsed: argparse.Namespace) -> Iterable[str]:
    body = {"text": parsed.text, **({"name": parsed.name} if parsed.name else {})}
    said = caller.call("POST", "rooms", parsed.room, "messages", body=body)
    return (f"said in {said['room']}, as number {said['offset']}",)


def _kick(caller: Caller, parsed: argparse.Namespace) -> Iterable[str]:
    caller.call("DELETE", "clients", parsed.client)
    return (f"{parsed.client} is out",)


def _ban(caller: Caller, parsed: argparse.Namespace) -> Iterable[str]:
    body: dict[str, Any] = {"reason": parsed.reason}
    if parsed.time is not None:
        body["seconds"] = seconds_of(parsed.time, "--for")
    ban = caller.call("PUT", "bans", *_whom(parsed), body=body)
    until = "it is lifted" if "expires" not in ban else time.strftime("%F %T", time.localtime(ban["expires"] / 1000))
    return (f"{ban.get('user') or ban.get('address')} is banned until {until}",)


def _unban(caller: Caller, parsed: argparse.Namespace) -> Iterable[str]:
    caller.call("DELETE", "bans", *_whom(parsed))
    return (f"{parsed.user or parsed.address} may come in again",)


def _whom(parsed: argparse.Namespace) -> tuple[str, str]:
    return ("users", parsed.user) if parsed.address is None else ("addresses", parsed.address)


def _table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """Columns as wide as what is in them; the last one is not padded."""
    lines = [[column.replace("_", " ").upper() for column in columns]]
    lines += [[_shown(row.get(column, "-")) for column in columns] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _shown(value: Any) -> str:
    """On one line, and without anything that drives a terminal."""
    text = ",".join(value) if isinstance(value, list) else f"{value:.0f}" if isinstance(value, float) else str(value)
    return text if text.isprintable() else ascii(text)


_COMMANDS: Final[dict[str, Callable[[Caller, argparse.Namespace], Iterable[str]]]] = {
    "rooms": _rooms,
    "clients": _clients,
    "say": _say,
    "kick": _kick,
    "ban": _ban,
    "unban": _unban,
}
