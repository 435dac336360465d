"""`redis://...` keeps the room log in Redis 7 or Valkey, for any number of nodes. The only package that imports redis.

What is there. A room has a hash (epoch, newest and oldest offset, bytes, the newest batch's stamp, the offset at which
the epoch began), a stream with the offsets as entry ids, a sorted set of what was erased of it (an entry of a stream
can be deleted, not changed), a hash and a list of the keys of messages that are to be there once, and per node what
became of its last batch. Their names begin with `store.prefix`, the format's version and, as a hash tag, the room, so
that all of them are in one slot. All of them expire, the room's own after `store.idle_days` without a message.

There. A turn's batch is one pipeline of one script a room, `append.lua`: it gives the offsets, appends, forgets, and
publishes the batch on the room's channel, so that publish order is offset order. It is answered, and the answer only
releases the acks. A batch has a number of its node's: sent again because its answer was lost, it is answered as
before, and one that comes late from a connection that was given up is refused. So not every message needs a key.

And back. A node subscribes to the channels of the rooms in which it has members and to no others (sharded channels:
in a cluster they stay in the room's slot). What it gives to the hub comes from there, or from the stream where there
is a hole, in offset order, its own messages, too. See `followed`.

Whether it is the same log. Every batch names the stamp (node and number) of the batch before it, and every script is
told what the caller has seen of the room: epoch, offset, and the stamp of the entry there. A flush takes the hash and
so the epoch; the next one has another name. A replica that lagged keeps the epoch, but its newest offset is lower than
what some node has seen, or the entry there has another stamp: the script that is told so begins a new epoch, which
keeps what is there, and publishes that. Epochs have names in their order, so that going back to an older one is seen,
too. No node decides by itself: whoever finds a stamp or an epoch that it does not know asks, and what scripts answer
on one connection is in their order. A node asks about all its rooms when it has subscribed anew, which it does after a
fail-over. What no living node has seen nobody can miss but a client that comes back with it, and its offset is then
beyond the newest, which the protocol takes for another epoch.
"""

from aiochat.roomlog.redis.log import RedisLog

__all__ = ["RedisLog"]
