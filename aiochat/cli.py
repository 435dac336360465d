"""The `aiochat` command, and what it can do. Each of its commands imports what it runs, not what others do."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiochat import __version__
from aiochat.config import TOKEN_VARIABLE, Config, as_toml, defaults, load
from aiochat.errors import ConfigError, Ended, StartError
from aiochat.loadtest.arguments import add_arguments
from aiochat.remote.arguments import add_commands as add_remote_commands

_DISTRIBUTION = "aiochat-server"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or one line on standard error that says what is wrong, and 2, or 1 if the server died."""
    given = sys.argv[1:] if arguments is None else arguments
    parsed = _parser().parse_args(given, argparse.Namespace(command=shlex.join(("aiochat", *given))))
    try:
        return int(parsed.run(parsed))
    except (ConfigError, StartError) as error:
        print(f"aiochat: {error}", file=sys.stderr)
        return 2
    except Ended as error:
        print(f"aiochat: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("aiochat", description="A chat server for people and programs.")
    parser.add_argument("--version", action="version", version=f"aiochat {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the server", description="Run the server until Ctrl-C or SIGTERM.")
    _add_settings(serve)
    serve.set_defaults(run=_serve)

    config = commands.add_parser(
        "config",
        help="print the settings in force",
        description="Print the settings in force, in the form of the file.",
    )
    _add_settings(config)
    config.set_defaults(run=_config)

    backup = commands.add_parser(
        "backup",
        help="copy what was said",
        description="Copy what is kept in SQLite into FILE, while the server runs or not.",
    )
    backup.add_argument("file", type=Path, metavar="FILE", help="which must not exist yet")
    _add_store(backup)
    backup.set_defaults(run=_backup)

    chat = commands.add_parser("chat", help="chat in this terminal", description="Chat in this terminal.")
    _add_talk(chat)
    chat.set_defaults(run=_chat)

    token = commands.add_parser(
        "token",
        help="make an access token, for development",
        description="Print an access token that a server with the same settings takes. Where the token_algorithms are"
        " HS256 and the like it is signed with the server's own key, else with --key. For development: in production an"
        " identity provider makes tokens, or the application that the users sign in to.",
        epilog="For example: AIOCHAT_TOKEN=$(aiochat token --sub alice --join 'team-*' --ttl 8h) aiochat chat",
    )
    _add_claims(token)
    token.set_defaults(run=_token)

    add_remote_commands(commands, _remote)

    loadtest = commands.add_parser("loadtest", help="measure a server", description="Measure a server under load.")
    add_arguments(loadtest)
    loadtest.set_defaults(run=_loadtest)
    return parser


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings that differ from the defaults, in TOML; default: none"
    )
    parser.add_argument(
        "--store",
        metavar="URL",
        help=f"keeps what is said; default: {defaults()['store']['url']}",
    )


def _add_talk(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", nargs="?", default="ws://127.0.0.1:8080/ws", metavar="URL", help="default: %(default)s")
    parser.add_argument("--room", default="lobby", help="default: %(default)s")
    parser.add_argument("--name", help="what to be called; default: as the token says, else nothing, as a guest")
    parser.add_argument(
        "--token",
        default=os.environ.get(TOKEN_VARIABLE) or None,
        help=f"that says who one is; default: that of {TOKEN_VARIABLE} in the environment, where nobody else sees it",
    )


def _add_claims(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sub", required=True, metavar="USER", help="the user that it is for")
    parser.add_argument("--name", help="what to be called; default: as USER, if that can be a name")
    for flag, may in (("--join", "may be joined"), ("--publish", "may be spoken in")):
        parser.add_argument(
            flag, action="append", metavar="PATTERN", help=f"of rooms that {may}; may be repeated; default: all"
        )
    parser.add_argument("--room", action="append", metavar="ROOM", help="joined at connect; may be repeated")
    parser.add_argument("--ttl", default="1h", metavar="TIME", help="for which it holds: 90s, 15m, 8h; default: 1h")
    parser.add_argument("--key", type=Path, metavar="FILE", help="a private key in PEM, for RS256, ES256 and the like")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the server's settings, in TOML; default: none")


def _add_settings(parser: argparse.ArgumentParser) -> None:
    default = defaults()
    _add_store(parser)
    parser.add_argument("--host", help=f"where to listen; default: {default['server']['host']}")
    parser.add_argument("--port", help=f"0 takes a free one; default: {default['server']['port']}")
    parser.add_argument(
        "--workers",
        metavar="N",
        help=f"processes that share the port, with Redis; default: {default['server']['workers']}",
    )
    parser.add_argument(
        "--log-level", metavar="LEVEL", help=f"debug, info, warning or error; default: {default['logging']['level']}"
    )


def _remote(parsed: argparse.Namespace) -> int:
    from aiochat.remote.commands import run

    print("\n".join(run(parsed)))
    return 0


def _token(parsed: argparse.Namespace) -> int:
    from aiochat.auth.minting import mint

    print(mint(parsed))
    return 0


def _loadtest(parsed: argparse.Namespace) -> int:
    try:
        from aiochat.loadtest.main import main as measure
    except ImportError as error:  # the extra is not installed
        raise StartError(f"{error.name} is not installed: pip install '{_DISTRIBUTION}[loadtest]'") from None
    return measure(parsed)


def _settings(parsed: argparse.Namespace) -> Config:
    flags: dict[str, dict[str, Any]] = {}
    for section, key, value in (
        ("server", "host", parsed.host),
        ("server", "port", parsed.port),
        ("server", "workers", parsed.workers),
        ("store", "url", parsed.store),
        ("logging", "level", parsed.log_level),
    ):
        if value is not None:
            flags.setdefault(section, {})[key] = value
    return load(parsed.config, flags)


def _serve(parsed: argparse.Namespace) -> int:
    config = _settings(parsed)
    if config.server.workers > 1:
        from aiochat.workers.parent import serve
    else:
        from aiochat.serve import serve
    serve(config)
    return 0


def _backup(parsed: argparse.Namespace) -> int:
    from aiochat.roomlog.backup import back_up
    from aiochat.roomlog.engines import file_path
    from aiochat.roomlog.urls import shown

    config = load(parsed.config, {} if parsed.store is None else {"store": {"url": parsed.store}})
    source = file_path(config)
    if source is None:
        raise StartError(f"store.url is {shown(config.store.url)}, and only a sqlite: file can be copied")
    size = back_up(source, parsed.file)
    print(f"{parsed.file} holds a copy of {source}, {size:,} bytes")
    return 0


def _config(parsed: argparse.Namespace) -> int:
    from aiochat.memory import largest_memory_bytes

    config = _settings(parsed)
    print(as_toml(config))
    largest_bytes = largest_memory_bytes(config) * config.server.workers
    print(f"\n# The largest memory that these settings allow: {largest_bytes / (1 << 30):.2f} GiB")
    return 0


def _chat(parsed: argparse.Namespace) -> int:
    from aiochat.terminal import chat

    return chat(parsed.url, parsed.room, parsed.name, parsed.token)
