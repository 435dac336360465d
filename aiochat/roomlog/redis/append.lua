-- Append a batch of one node to a room, once, and publish it. After room.lua.
--
-- ARGV 10 to 14: the batch's stamp and number; history.key_minutes and store.max_keys; how many drafts there are. Then
-- their contents. Then, for each draft with a key or a target: its index, the key and its content's digest, the target.
-- Answers epoch, newest offset and stamp, and of each draft that is no new entry: index, code, offset and time.

local batch_stamp, number = ARGV[10], tonumber(ARGV[11])
local key_life, max_keys, count = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])
local CONTENTS = 14
local SLICE = 500 -- values that a command takes at once, or gives

-- A batch comes again if its answer was lost, and perhaps late, from a connection that was given up.
local last = redis.call('GET', last_batch)
if last then
  local done, answer = string.match(last, '^(%d+) (.*)$')
  if tonumber(done) == number then
    return cmsgpack.unpack(answer)
  elseif tonumber(done) > number then
    return redis.error_reply('STALE a later batch of this node was here before')
  end
end

local known, added = {}, {} -- what each key stands for: the digest, the offset and the time, packed

local function digest_and_place(value)
  local offset, ts = string.match(value, '^(%d+) (%d+)', 9)
  return string.sub(value, 1, 8), tonumber(offset), tonumber(ts)
end

local function learn(fields)
  for start = 1, #fields, SLICE do
    local values = redis.call('HMGET', keys, unpack(fields, start, math.min(start + SLICE - 1, #fields)))
    for place, value in ipairs(values) do
      known[fields[start + place - 1]] = value
    end
  end
end

local function remember()
  for start = 1, #added, SLICE do
    local values, records = {}, {}
    for place = start, math.min(start + SLICE - 1, #added) do
      local field = added[place]
      local _, _, ts = digest_and_place(known[field])
      values[#values + 1] = field
      values[#values + 1] = known[field]
      records[#records + 1] = field .. text(ts)
    end
    redis.call('HSET', keys, unpack(values))
    redis.call('RPUSH', order, unpack(records))
  end
  redis.call('PEXPIRE', keys, text(key_life + 60000))
  redis.call('PEXPIRE', order, text(key_life + 60000))
end

-- Forget the keys that are too old, and the oldest of too many; some more than came, so that none stay.
local function forget_keys(latest)
  local surplus = redis.call('HLEN', keys) - max_keys
  for _ = 0, #added / SLICE + 1 do
    local records = redis.call('LRANGE', order, 0, SLICE - 1)
    local gone = 0
    for _, record in ipairs(records) do
      local field, ts = string.sub(record, 1, 8), tonumber(string.sub(record, 9))
      if surplus <= 0 and ts >= latest - key_life then
        break
      end
      gone = gone + 1
      local value = redis.call('HGET', keys, field)
      local _, _, since = digest_and_place(value or '')
      if since == ts then -- else it was used again since
        redis.call('HDEL', keys, field)
        surplus = surplus - 1
      end
    end
    redis.call('LTRIM', order, gone, -1)
    if gone < SLICE then
      return
    end
  end
end

local function erase(target)
  local entry = target <= newest and target >= math.max(oldest, newest - max_messages + 1) and entry_at(target)
  if not entry then
    return false
  end
  local _, batch, is_erasure = head_of(entry)
  if is_erasure then
    return false
  end
  redis.call('XDEL', log, entry[1])
  redis.call('ZADD', erased, text(target), text(target) .. ' ' .. text(time_of(entry)) .. ' ' .. batch)
  redis.call('PEXPIRE', erased, text(life))
  return true
end

-- What becomes of a draft that has a key or a target; nothing if it is a new entry.
local function refusal(special, ts)
  local value = special.key ~= '' and known[special.key]
  if value then
    local digest, offset, since = digest_and_place(value)
    if ts - since <= key_life then
      if digest == special.digest then
        return '', offset, since
      end
      return 'key_reused', 0, 0
    end
  end
  if special.target and not erase(special.target) then
    return 'no_such_message', 0, 0
  end
  if special.key ~= '' then
    known[special.key] = special.digest .. text(newest + 1) .. ' ' .. text(ts)
    added[#added + 1] = special.key
  end
end

local specials, fields = {}, {}
for place = CONTENTS + count + 1, #ARGV, 4 do
  local special = { key = ARGV[place + 1], digest = ARGV[place + 2], target = tonumber(ARGV[place + 3]) }
  specials[tonumber(ARGV[place])] = special
  if special.key ~= '' then
    fields[#fields + 1] = special.key
  end
end
learn(fields)

local answer, accepted, previous, latest = {}, {}, stamp, 0
for index = 1, count do
  local content, special = ARGV[CONTENTS + index], specials[index]
  local code, offset, since
  if special then
    local _, ts = cmsgpack.unpack_one(content, 1)
    latest = math.max(latest, ts)
    code, offset, since = refusal(special, ts)
  end
  if code then
    answer[#answer + 1] = index
    answer[#answer + 1] = code
    answer[#answer + 1] = offset
    answer[#answer + 1] = since
  else
    newest = newest + 1
    local head = text(bytes) .. ' ' .. batch_stamp .. (special and special.target and ' e' or '')
    redis.call('XADD', log, text(newest) .. '-0', 'h', head, 'e', content)
    bytes = bytes + #content + ENTRY_BYTES
    accepted[#accepted + 1] = content
  end
end

if #accepted > 0 then
  stamp = batch_stamp
  local is_due = live_on() -- also where something is forgotten each time
  if forget() or is_due then
    save()
  else
    redis.call('HSET', room, 'newest', text(newest), 'bytes', text(bytes), 'stamp', stamp)
  end
  publish(#accepted, previous, table.concat(accepted))
end
if #added > 0 then
  remember()
  forget_keys(latest)
end
local result = { epoch, newest, stamp, answer }
redis.call('SET', last_batch, text(number) .. ' ' .. cmsgpack.pack(result), 'PX', text(key_life + 60000))
return result
