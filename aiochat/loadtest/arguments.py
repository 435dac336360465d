"""The flags of `aiochat loadtest`. Apart from the rest, which needs what the extra installs."""

import argparse

_DESCRIPTION = """\
Measure a chat server under load: latency, throughput, CPU, memory, and whether
a message was lost, doubled or out of order.

  aiochat loadtest                        chat: rooms of mixed sizes; people
                                          write, type, move and reconnect
  aiochat loadtest broadcast              one room: ten speak, all listen
  aiochat loadtest storm --clients 5000   everybody reconnects and resumes
  aiochat loadtest idle                   as many silent connections as
                                          the machine allows
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawTextHelpFormatter
    parser.usage = "aiochat loadtest [SCENARIO] [--url URL] [options]"
    load = parser.add_argument_group("the load")
    load.add_argument(
        "scenario", nargs="?", default="chat", metavar="SCENARIO", help="a name, or a file of your own (.toml)"
    )
    load.add_argument("--list", action="store_true", help="all scenarios: small files, to copy and change")
    load.add_argument("--clients", metavar="N", help='connections; "most": as many as can be')
    load.add_argument("--seconds", metavar="S", help="that are measured")
    load.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any key of the scenario: rate=500"
    )
    load.add_argument("--processes", type=int, metavar="P", help="that run the clients; default: cores - 1")
    load.add_argument("--rounds", type=int, default=1, metavar="N", help="run it N times, for the noise to show")
    measured = parser.add_argument_group("the server")
    measured.add_argument(
        "--url",
        action="append",
        help="ws://HOST:PORT/PATH; default: starts its own. Several are\n"
        "nodes of one chat: every room is spread over them, and\n"
        "latencies are of messages from one to another",
    )
    measured.add_argument("--pid", type=int, help="its process; default: found, if it runs here")
    measured.add_argument("--peer", action="store_true", help="measure a bare broadcast server beside it")
    reports = parser.add_argument_group("the report")
    reports.add_argument(
        "--html", metavar="FILE", help="a page with charts; default on a terminal:\nloadtest-report.html"
    )
    reports.add_argument("--json", metavar="FILE", help="all figures, for programs; - for stdout")
    reports.add_argument("--compare", metavar="OLD.json", help="say what is better, and what worse (exit 1)")
    reports.add_argument("--quiet", action="store_true", help="show nothing while it runs")
