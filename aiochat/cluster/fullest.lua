-- Note how full a room is. KEYS: its members; all rooms by their number. ARGV: the room; a lifetime in milliseconds.
-- The only script with keys that are not one room's.

local count = redis.call('HLEN', KEYS[1])
if count > 0 then
  redis.call('ZADD', KEYS[2], count, ARGV[1])
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
else
  redis.call('ZREM', KEYS[2], ARGV[1])
end
return count
