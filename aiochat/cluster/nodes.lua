-- A node lives on. KEYS: all nodes, by when they last did so; the mark of this one if it was swept. ARGV: its id; how
-- long another may be silent, and the lifetime of the list, in milliseconds.
-- Answers whether it was known, whether it was swept, and who has been silent for longer.

local nodes, node, lease, life = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('ZSCORE', nodes, node)
redis.call('ZADD', nodes, string.format('%.0f', now), node)
redis.call('PEXPIRE', nodes, life)
local silent = redis.call('ZRANGE', nodes, '-inf', '(' .. string.format('%.0f', now - lease), 'BYSCORE', 'LIMIT', 0, 8)
return { known and 1 or 0, redis.call('EXISTS', KEYS[2]), silent }
