-- A node lives on. KEYS: all nodes, by when they last did so; the mark of this one if it was swept. ARGV: its id; how
-- long another may be silent, and the lifetime of the list, in milliseconds.
-- Answers whether it was known, whether it was swept, and who has been silent for longer. Who is new here, or was silent
-- as long itself, as when Redis was away, gives the others the time to say that they live.

local nodes, node, lease, life = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3]
if redis.call('EXISTS', KEYS[2]) == 1 then
  return { 0, 1, {} } -- it is to be another one
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('ZSCORE', nodes, node)
local was_silent = known and tonumber(known) < now - lease
redis.call('ZADD', nodes, string.format('%.0f', now), node)
redis.call('PEXPIRE', nodes, life)
local limit = was_silent and -1 or 8
local longest = '(' .. string.format('%.0f', now - lease)
local silent = redis.call('ZRANGE', nodes, '-inf', longest, 'BYSCORE', 'LIMIT', 0, limit)
if was_silent then
  for _, other in ipairs(silent) do
    redis.call('ZADD', nodes, 'XX', string.format('%.0f', now), other)
  end
end
if was_silent or not known then
  silent = {}
end
return { known and 1 or 0, 0, silent }
