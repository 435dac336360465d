"""From the costs of one message, one delivery and one client to nodes and Redis for many: docs/scaling.md explains it.

.venv/bin/python -m benchmarks.scaling                                     # 200,000 and 10 million clients
.venv/bin/python -m benchmarks.scaling 50000 --delivery-us 6 --clients-per-node 50000
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

DAY_SECONDS: Final = 86_400
KEPT: Final = 20_000  # history.max_messages
STEPS: Final = 100  # rooms of nearly the same size are reckoned with together


class Assumed(NamedTuple):
    """What was measured, and what people do; each can be given as a flag."""

    delivery_us: float = 10.0  # CPU of a node: one message to one client, in a write of its own
    message_us: float = 400.0  # CPU of a node: from a client to Redis, back through the subscription, and its ack
    heard_us: float = 180.0  # CPU of a node: a message that a client of another node wrote
    connect_us: float = 750.0  # CPU of a node
    redis_us: float = 150.0  # CPU of Redis: the script that appends and publishes a message
    redis_heard_us: float = 10.0  # CPU of Redis: for each node that hears it
    node_mb: float = 75.0  # memory of a node without clients
    client_kb: float = 10.0  # of a client in a node and in the kernel
    message_bytes: float = 400.0  # on the wire to a node, and in Redis
    full: float = 0.6  # of a core that a node or Redis may use: the rest is for the day when all come back at once
    clients_per_node: float = 20_000.0  # limits.max_clients
    rooms_per_client: float = 3.0
    clients_per_room: float = 10.0  # clients in all, for each room that there is
    messages_per_minute: float = 1.0  # of a client, over all its rooms
    room_messages_per_second: float = 1.0  # at most: no more can be read
    connects_per_hour: float = 1.0  # of a client


class Needed(NamedTuple):
    """For so many clients."""

    clients: float
    rooms: float
    largest_room: float
    messages: float  # a second, as are the next two
    deliveries: float
    heard: float  # messages told to nodes
    nodes: int
    cores: float  # that the nodes use
    redis_cores: float
    redis_bytes: float  # of a day's messages


def needed(clients: float, assumed: Assumed) -> Needed:
    """By rooms whose sizes have a long tail: the second is half as large as the first, the third a third."""
    rooms = max(1.0, clients / assumed.clients_per_room)
    memberships = clients * assumed.rooms_per_client
    largest = min(clients, memberships / sum(count / rank for rank, count in _ranks(rooms)))
    groups = [(count, max(1.0, largest / rank)) for rank, count in _ranks(rooms)]
    each = assumed.messages_per_minute / 60 / assumed.rooms_per_client
    rates = [min(size * each, assumed.room_messages_per_second) for _, size in groups]
    messages = sum(count * rate for (count, _), rate in zip(groups, rates, strict=True))
    deliveries = sum(count * rate * size for (count, size), rate in zip(groups, rates, strict=True))
    kept = sum(count * min(rate * DAY_SECONDS, KEPT) for (count, _), rate in zip(groups, rates, strict=True))
    nodes, cores, heard = 0, 0.0, 0.0
    more = math.ceil(clients / assumed.clients_per_node)
    while more > nodes:  # more nodes hear more, which may take more nodes
        nodes = more
        heard = sum(
            count * rate * nodes * (1 - (1 - 1 / nodes) ** size)
            for (count, size), rate in zip(groups, rates, strict=True)
        )
        microseconds = (
            deliveries * assumed.delivery_us
            + messages * assumed.message_us
            + max(0.0, heard - messages) * assumed.heard_us
            + clients * assumed.connects_per_hour / 3600 * assumed.connect_us
        )
        cores = microseconds / 1e6
        more = math.ceil(cores / assumed.full)
    redis = (messages * assumed.redis_us + heard * assumed.redis_heard_us) / 1e6
    return Needed(
        clients, rooms, largest, messages, deliveries, heard, nodes, cores, redis, kept * assumed.message_bytes
    )


def _ranks(rooms: float) -> Iterator[tuple[float, float]]:
    """Ranks by size, the first 1, with how many rooms each stands for."""
    rank = 1
    while rank <= rooms:
        count = min(max(1, rank // STEPS), int(rooms) - rank + 1)
        yield rank + (count - 1) / 2, count
        rank += count


def fullest(assumed: Assumed) -> float:
    """How many clients one Redis is enough for."""
    few, many = 1.0, 1e9
    while many / few > 1.01:
        middle = math.sqrt(few * many)
        few, many = (middle, many) if needed(middle, assumed).redis_cores <= assumed.full else (few, middle)
    return few


def table(found: Sequence[Needed], assumed: Assumed) -> Iterator[str]:
    """One column for each number of clients."""
    rows = {
        "clients": [f"{of.clients:,.0f}" for of in found],
        "rooms; clients in the largest": [f"{of.rooms:,.0f}; {of.largest_room:,.0f}" for of in found],
        "messages a second": [f"{of.messages:,.0f}" for of in found],
        "deliveries a second": [f"{of.deliveries:,.0f}" for of in found],
        "nodes, a core each": [f"{of.nodes:,}" for of in found],
        "clients of a node": [f"{of.clients / of.nodes:,.0f}" for of in found],
        "a node's memory": [
            f"{assumed.node_mb + of.clients / of.nodes * assumed.client_kb / 1000:,.0f} MB" for of in found
        ],
        "deliveries of a node a second": [f"{of.deliveries / of.nodes:,.0f}" for of in found],
        "nodes that hear a message": [f"{of.heard / of.messages:.1f}" for of in found],
        "a core of Redis": [f"{of.redis_cores:.0%}" for of in found],
        "Redis, 60 % of a core each": [f"{math.ceil(of.redis_cores / assumed.full):,}" for of in found],
        "Redis to nodes": [f"{of.heard * assumed.message_bytes * 8 / 1e9:,.2f} Gbit/s" for of in found],
        "a day's messages in Redis": [f"{of.redis_bytes / 1e9:,.0f} GB" for of in found],
    }
    name = max(map(len, rows))
    column = max(len(cell) for cells in rows.values() for cell in cells)
    for label, cells in rows.items():
        yield f"{label:{name}}" + "".join(f"  {cell:>{column}}" for cell in cells)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("benchmarks.scaling", description="How many nodes and Redis many clients take.")
    parser.add_argument(
        "clients", nargs="*", type=float, default=[200_000, 10_000_000], help="how many; several columns"
    )
    for name, value in Assumed()._asdict().items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value, help="default: %(default)s")
    given: dict[str, Any] = vars(parser.parse_args(arguments))
    clients = given.pop("clients")
    assumed = Assumed(**given)
    print("\n".join(table([needed(count, assumed) for count in clients], assumed)))
    print(f"\nOne Redis is enough for {float(f'{fullest(assumed):.2g}'):,.0f} clients.")


if __name__ == "__main__":
    main()
