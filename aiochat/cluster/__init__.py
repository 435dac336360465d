"""Who is where, over all nodes that share one Redis: names, members, presence, direct messages, kicks, bans, sessions.

There is a `Cluster` only on a log that nodes share; one node on a log of its own knows all of that by itself.

What is there. A room's members, those lost whose grace is not over, its names and persons are hashes in the room's
slot; `members.lua` alone changes them, one step of one client at a time, and publishes what has happened on the room's
channel, which the nodes listen to that have members in it. A client's place says which node it is on. Every node is
in a list, by when it last said that it lives; one that is silent for longer than its lease is swept by another.

What is not kept in Redis is asked of the nodes (`post`): each has a channel of its own and one that all share.

All of it goes over the log's connections, and every answer comes to the hub's inbox as an item like any other.
"""

from aiochat.cluster.cluster import Cluster

__all__ = ["Cluster"]
