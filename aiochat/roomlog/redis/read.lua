-- Read a stretch of a room. After room.lua.
--
-- ARGV 10 to 13: "newest", "before", "after", "missed" or "look"; an offset; how many entries; how many bytes of them.
-- What was missed follows what the caller has seen or, where an epoch has begun since, its beginning; who looks has
-- missed nothing.
-- Answers epoch, oldest and newest offset, stamp, and the offset before what was missed; then entries in the direction
-- in which they were read, and as records "offset time stamp" what was erased between them.

local mode, bound, limit, max_page = ARGV[10], tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
local SLICE = 32

local since = seen_offset
if mode == 'look' then
  since, limit = newest, 0
elseif seen_epoch ~= epoch then
  since = base
end
-- What is not there and was not erased is lost: the stream has expired, or Redis has thrown it out.
if oldest <= newest then
  local entry = redis.call('XRANGE', log, text(oldest), '+', 'COUNT', 1)[1]
  local there = entry and offset_of(entry) or newest + 1
  if redis.call('ZCOUNT', erased, text(oldest), text(there - 1)) < there - oldest then
    oldest = there
    save()
  end
end
local is_due = newest > 0 and live_on()
if forget() or is_due then
  save()
end

local is_forward = mode == 'after' or mode == 'missed'
local first, last = oldest, newest
if mode == 'missed' then
  first = math.max(oldest, since + 1)
elseif mode == 'after' then
  first = math.max(oldest, bound + 1)
elseif mode == 'before' then
  last = math.min(newest, bound - 1)
end

local entries, size, from, to = {}, 0, first, last
while #entries < limit and size < max_page and from <= to do
  local slice
  local wanted = math.min(SLICE, limit - #entries)
  if is_forward then
    slice = redis.call('XRANGE', log, text(from), text(to), 'COUNT', wanted)
  else
    slice = redis.call('XREVRANGE', log, text(to), text(from), 'COUNT', wanted)
  end
  for _, entry in ipairs(slice) do
    entries[#entries + 1] = entry
    size = size + #entry[2][4]
  end
  if #slice < wanted then
    from, to = 1, 0 -- all of it
  elseif is_forward then
    from = offset_of(slice[#slice]) + 1
  else
    to = offset_of(slice[#slice]) - 1
  end
end
if from <= to and #entries > 0 then -- there is more, from there on
  if is_forward then
    last = from - 1
  else
    first = to + 1
  end
end

local gone = {}
if limit > 0 and first <= last and redis.call('EXISTS', erased) == 1 then
  if is_forward then
    gone = redis.call('ZRANGE', erased, text(first), text(last), 'BYSCORE', 'LIMIT', 0, limit)
  else
    gone = redis.call('ZRANGE', erased, text(last), text(first), 'BYSCORE', 'REV', 'LIMIT', 0, limit)
  end
end
return { epoch, oldest, newest, stamp, math.max(since, oldest - 1), entries, gone }
