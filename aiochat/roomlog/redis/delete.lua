-- Throw a room's log away: it begins again under another epoch. After room.lua.
-- Answers the epoch of its next message, and where it stood.

local stood = newest
if newest > 0 then
  clear() -- first, for it is what helps a Redis without memory
  begin()
  save()
  redis.call('PEXPIRE', room, text(math.min(life, UNWRITTEN_LIFE)))
  publish(0, stamp, '')
end
return { epoch, stood }
