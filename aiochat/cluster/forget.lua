-- Forget where a client is. KEYS: its place. ARGV: the node that it was on; it may be on another one by now.

if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
