"""The arguments of the commands that ask a running server. The token is none of them: `ps` would show it to all."""

import argparse
from pathlib import Path
from typing import Any

_EPILOG = (
    "The admin token is read from AIOCHAT_SECURITY__ADMIN_TOKEN or, as security.admin_token, from the file of --config."
)


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", run: Any) -> None:
    """`run` is called with what was parsed, in which `remote` is the command's name."""

    def add(name: str, summary: str, description: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(name, help=summary, description=description, epilog=_EPILOG)
        parser.add_argument("--url", help="of the server, such as https://chat.example; default: as in its settings")
        parser.add_argument("--config", type=Path, metavar="FILE", help="the server's settings, in TOML; default: none")
        parser.set_defaults(run=run, remote=name)
        return parser

    add("rooms", "list the rooms", "List the rooms with somebody in them.")

    clients = add("clients", "list who is connected", "List who is connected.")
    clients.add_argument("--room", help="only those in it")
    clients.add_argument("--user", help="only those of this user")

    say = add("say", "say something in a room", "Say TEXT in ROOM.")
    say.add_argument("room", metavar="ROOM")
    say.add_argument("text", metavar="TEXT")
    say.add_argument("--name", help="who is shown to say it; default: nobody")

    kick = add("kick", "end a connection", "End the connection of CLIENT, an id that `aiochat clients` shows.")
    kick.add_argument("client", metavar="CLIENT")

    ban = add("ban", "keep a user or an address out", "Keep USER, or who comes from an address, out.")
    _add_whom(ban)
    ban.add_argument("--for", dest="time", metavar="TIME", help="90s, 15m, 8h, 7d; default: until it is lifted")
    ban.add_argument("--reason", default="", help="which those are told whom it is about")

    _add_whom(add("unban", "let a user or an address in again", "Let USER, or who comes from an address, in again."))


def _add_whom(parser: argparse.ArgumentParser) -> None:
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument("user", nargs="?", metavar="USER")
    whom.add_argument("--address", help="or a network, such as 192.0.2.0/24")
