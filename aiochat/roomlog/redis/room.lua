-- What every script begins with: one room as it stands, and whether it went back behind what the caller has seen.
--
-- KEYS: the room's hash; its stream, in which an entry's id is its offset; what was erased of it; the keys of messages
-- that are to be there once, and their order; what became of the calling node's last batch.
-- ARGV 1 to 9: the channel; the lifetime of an idle room; a name for a new epoch; epoch, offset
-- and stamp that the caller has seen; history.max_messages, max_bytes and max_age. All times are in milliseconds.

local room, log, erased, keys, order, last_batch = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local channel, life, fresh = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local seen_epoch, seen_offset, seen_stamp = ARGV[4], tonumber(ARGV[5]), ARGV[6]
local max_messages, max_bytes, max_age = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local time = redis.call('TIME') -- a node whose clock is wrong must not throw away what others keep
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local UNWRITTEN_LIFE = 3600000 -- of a room that was only read
local ENTRY_BYTES = 64 -- what an entry costs beside its content

local epoch, newest, oldest, bytes, stamp, base, lived

local function text(number)
  return string.format('%.0f', number)
end

local function entry_at(offset)
  return redis.call('XRANGE', log, text(offset), text(offset))[1]
end

local function offset_of(entry)
  return tonumber(string.match(entry[1], '^%d+'))
end

-- An entry's head: where its bytes begin in all that was ever said, its batch's stamp, "e" if it is an erasure.
local function head_of(entry)
  local start, batch, kind = string.match(entry[2][2], '^(%d+) (%S*) ?(e?)$')
  return tonumber(start), batch, kind == 'e'
end

local function time_of(entry)
  local _, ts = cmsgpack.unpack_one(entry[2][4], 1) -- behind the byte that begins the array
  return ts
end

local function save()
  redis.call('HSET', room, 'epoch', epoch, 'newest', text(newest), 'oldest', text(oldest), 'bytes', text(bytes),
    'stamp', stamp, 'base', text(base), 'lived', text(lived))
end

-- Put the end of the room's life off, now and then; whether that was due. Messages that are too old need not be kept.
local function live_on()
  local log_life = max_age > 0 and math.min(life, max_age) or life
  if math.abs(now - lived) < log_life / 32 then
    return false
  end
  lived = now
  redis.call('PEXPIRE', room, text(newest > 0 and life or math.min(life, UNWRITTEN_LIFE)))
  redis.call('PEXPIRE', log, text(math.min(life, log_life * 33 / 32)))
  redis.call('PEXPIRE', erased, text(life))
  return true
end

-- Followers take whatever comes under an epoch that they do not know as a reason to look.
local function publish(count, previous, content)
  local header = { epoch, text(newest - count + 1), text(count), previous, stamp }
  redis.call('SPUBLISH', channel, table.concat(header, ' ') .. '\n' .. content)
end

-- Names of epochs begin with the time; each is greater than the one before it, whatever the clocks say.
local function name_after(name)
  return fresh > name and fresh or name .. '+'
end

local function clear()
  redis.call('DEL', log, erased, keys, order)
end

local function begin()
  epoch = name_after(epoch or '')
  newest, oldest, bytes, stamp, base, lived = 0, 1, 0, '-', 0, 0
end

-- Whether what the caller has seen is not what is here: a replica that lagged has taken over, or an old file was loaded.
local function is_other()
  if seen_epoch ~= epoch or seen_offset > newest then
    return seen_epoch > epoch or seen_epoch == epoch
  elseif seen_stamp == '' or seen_offset == newest then
    return seen_stamp ~= '' and seen_stamp ~= stamp
  end
  local entry = seen_offset >= oldest and entry_at(seen_offset)
  if entry then
    local _, batch = head_of(entry)
    return batch ~= seen_stamp
  end
  return false -- it was erased, or is kept no longer
end

local function open()
  local state = redis.call('HMGET', room, 'epoch', 'newest', 'oldest', 'bytes', 'stamp', 'base', 'lived')
  epoch, stamp = state[1], state[5]
  if not epoch then -- never written to, expired or flushed; what may be left of it is another epoch's
    begin()
    save() -- before anything is deleted, or a Redis without memory would no longer refuse it
    clear()
    redis.call('PEXPIRE', room, text(math.min(life, UNWRITTEN_LIFE)))
    return
  end
  newest, oldest, bytes = tonumber(state[2]), tonumber(state[3]), tonumber(state[4])
  base, lived = tonumber(state[6]), tonumber(state[7])
  if is_other() then
    epoch, base = name_after(seen_epoch), newest
    save()
    publish(0, stamp, '')
  end
end

-- The offset behind all entries from `first` on that are too much or too old. Each entry is less of both than the one
-- before it, so it is found in steps that double and then halve: a script of a step for each would hold Redis up.
local function kept_from(first)
  local bound, step = newest + 1, 1 -- what is at `bound`, and behind it, stays
  while first < bound and (bytes > max_bytes or max_age > 0) do
    local probe = first + step - 1
    local entry = redis.call('XRANGE', log, text(probe), '+', 'COUNT', 1)[1] -- none: nothing but what was erased
    local is_over = entry and (bytes - head_of(entry) > max_bytes or max_age > 0 and time_of(entry) < now - max_age)
    if is_over then
      first = offset_of(entry) + 1
    else
      bound = probe
    end
    step = math.max(1, math.min(step * 2, math.floor((bound - first) / 2)))
  end
  return first
end

-- Forget what is too much, too large or too old; whether there was any of it.
local function forget()
  local first = kept_from(math.max(oldest, newest - max_messages + 1))
  if first == oldest then
    return false
  end
  oldest = first
  redis.call('XTRIM', log, 'MINID', text(oldest))
  redis.call('ZREMRANGEBYSCORE', erased, '-inf', '(' .. text(oldest))
  return true
end

open()
