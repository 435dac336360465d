-- Keep a value of the server's own, or forget it. KEYS: the hash of them. ARGV: its lifetime in milliseconds, how many
-- there may be, the key, and the value if there is one. Answers whether there was room for it.

local life, max_values, key, value = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
if not value then
  redis.call('HDEL', KEYS[1], key)
elseif redis.call('HEXISTS', KEYS[1], key) == 0 and redis.call('HLEN', KEYS[1]) >= max_values then
  return 0
else
  redis.call('HSET', KEYS[1], key, value)
  redis.call('PEXPIRE', KEYS[1], life)
end
return 1
