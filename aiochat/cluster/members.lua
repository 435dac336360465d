-- Who is in one room, over all nodes: one step of somebody who comes, is renamed, is lost, leaves, or was on a dead node.
--
-- KEYS: the room's members, and those lost whose grace is not over, each by client id; the names taken; how many
-- records there are of each person; whether a large room's count was published lately.
-- ARGV: the step; the room's channel; the lifetime of the keys in milliseconds; above how many members they are only
-- counted; then the step's own.
-- Answers how many members there are and as of when (microseconds), then the step's own. What has changed is published:
-- who came, went or was renamed; "moved" where that is nobody new or gone, "counted" where it is no event at all.

local who, away, names, persons, counted = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local step, channel, life, list_up_to = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local NODE, STAMP, NAME, FOLDED, USER, PERSON, SINCE = 1, 2, 3, 4, 5, 6, 7 -- of a record
local COUNTED_MS = 500 -- less than what a node waits until it asks again

local function now()
  local time = redis.call('TIME')
  return string.format('%.0f', time[1] * 1000000 + time[2])
end

local function state(...)
  return { redis.call('HLEN', who), now(), ... }
end

local function record_in(where, client)
  local packed = redis.call('HGET', where, client)
  return packed and cmsgpack.unpack(packed)
end

local function publish(kind, client, record, was)
  local count = redis.call('HLEN', who)
  local told
  if count > list_up_to then
    if not redis.call('SET', counted, 1, 'NX', 'PX', COUNTED_MS) then
      return
    end
    told = { 'counted', count, now() }
  elseif not client then
    told = { kind, count, now() }
  else
    told = { kind, count, now(), client, record[NAME], record[USER], was or '' }
  end
  redis.call('SPUBLISH', channel, cmsgpack.pack(told))
end

-- Names: of each the user who has it, or '', and the clients.

local function holding_of(folded)
  local packed = redis.call('HGET', names, folded)
  return packed and cmsgpack.unpack(packed)
end

local function has(holding, client)
  for place = 2, #holding do
    if holding[place] == client then
      return place
    end
  end
end

local function may_have(folded, client, user)
  local holding = holding_of(folded)
  return not holding or has(holding, client) or (user ~= '' and user == holding[1])
end

local function take(folded, client, user)
  local holding = holding_of(folded) or { user }
  if not has(holding, client) then
    holding[#holding + 1] = client
    redis.call('HSET', names, folded, cmsgpack.pack(holding))
  end
end

local function free(folded, client)
  local holding = folded ~= '' and holding_of(folded)
  local place = holding and has(holding, client)
  if not place then
    return
  end
  table.remove(holding, place)
  if #holding == 1 then
    redis.call('HDEL', names, folded)
  else
    redis.call('HSET', names, folded, cmsgpack.pack(holding))
  end
end

-- ARGV from `first`: the name wanted and its folded form, the same cut for one, two and six digits, and a random number.
local function given(first, client, user)
  local wanted, folded = ARGV[first], ARGV[first + 1]
  if wanted == '' or may_have(folded, client, user) then
    return wanted, folded
  end
  for number = 2, 19 do
    local stem = first + (number < 10 and 2 or 4)
    local suffix = '-' .. number
    if may_have(ARGV[stem + 1] .. suffix, client, user) then
      return ARGV[stem] .. suffix, ARGV[stem + 1] .. suffix
    end
  end
  math.randomseed(tonumber(ARGV[first + 8]))
  while true do
    local suffix = '-' .. math.random(100000, 999999)
    if may_have(ARGV[first + 7] .. suffix, client, user) then
      return ARGV[first + 6] .. suffix, ARGV[first + 7] .. suffix
    end
  end
end

-- Persons: a user, however often it is there, or a name; '' is an unnamed client, who is only counted.

local function person_of(user, folded)
  return user ~= '' and 'user ' .. user or folded ~= '' and 'name ' .. folded or ''
end

local function add(person, number)
  if person == '' then
    return 1
  end
  local left = redis.call('HINCRBY', persons, person, number)
  if left <= 0 then
    redis.call('HDEL', persons, person)
  end
  return left
end

local function live_on()
  for place = 1, 4 do
    redis.call('PEXPIRE', KEYS[place], life)
  end
end

local function is_mine(record, stamp)
  return record and record[STAMP] == stamp
end

local function go(client, record, was_member)
  redis.call('HDEL', who, client)
  redis.call('HDEL', away, client)
  free(record[FOLDED], client)
  if add(record[PERSON], -1) == 0 then
    publish('went', client, record)
  else
    publish(was_member and 'moved' or 'counted')
  end
end

local steps = {}

-- Whether the client has gone on at another node; a node is called otherwise whenever it registers everybody anew.
local function has_moved(before, node, since)
  local process = '^[^.]+'
  return string.match(before[NODE], process) ~= string.match(node, process)
    and tonumber(before[SINCE]) > tonumber(since)
end

-- Client, node, stamp, user, whether others know it already, since when (microseconds) it is there, if it is registered
-- anew, or ''; the name as `given` takes it. Answers the name, or nothing where it has moved on since.
-- Asked again with the same stamp, it is answered as before. Who is there already under this id goes on.
function steps.enter()
  local client, node, stamp, user, is_known, since = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9] == '1', ARGV[10]
  local before = record_in(who, client) or record_in(away, client)
  if is_mine(before, stamp) then
    return state(before[NAME])
  end
  if before and since ~= '' and has_moved(before, node, since) then
    return state()
  end
  local name, folded = given(11, client, user)
  local person = person_of(user, folded)
  local record = { node, stamp, name, folded, user, person, since ~= '' and since or now() }
  if folded ~= '' then
    take(folded, client, user)
  end
  if before and before[FOLDED] ~= folded then
    free(before[FOLDED], client)
  end
  local is_new = add(person, 1) == 1 and person ~= ''
  redis.call('HDEL', away, client)
  redis.call('HSET', who, client, cmsgpack.pack(record))
  live_on()
  if before and add(before[PERSON], -1) == 0 and before[PERSON] ~= person then
    publish('went', client, before)
  end
  if is_new and not is_known then
    publish('came', client, record)
  else
    publish((before or is_known) and 'counted' or 'moved') -- who is back within the grace was never gone
  end
  return state(name)
end

-- Client, stamp, and the name as `given` takes it. Answers the name, or nothing where the client is not there.
function steps.rename()
  local client, stamp = ARGV[5], ARGV[6]
  local before = record_in(who, client)
  if not is_mine(before, stamp) then
    return state()
  end
  free(before[FOLDED], client)
  local name, folded = given(7, client, before[USER])
  take(folded, client, before[USER])
  local person = person_of(before[USER], folded)
  local record = { before[NODE], stamp, name, folded, before[USER], person, before[SINCE] }
  redis.call('HSET', who, client, cmsgpack.pack(record))
  add(person, 1)
  add(before[PERSON], -1)
  live_on()
  if name ~= before[NAME] then
    publish('renamed', client, record, before[NAME])
  end
  return state(name)
end

-- Client, stamp, whether its name is free: lost, and perhaps back within the grace.
function steps.lose()
  local client, stamp, is_free = ARGV[5], ARGV[6], ARGV[7] == '1'
  local record = record_in(who, client)
  if is_mine(record, stamp) then
    redis.call('HDEL', who, client)
    if is_free then
      free(record[FOLDED], client)
    end
    redis.call('HSET', away, client, cmsgpack.pack(record))
    redis.call('PEXPIRE', away, life)
    publish('counted')
  end
  return state()
end

-- Client and stamp: it is gone for good.
function steps.leave()
  local client, stamp = ARGV[5], ARGV[6]
  local member, lost = record_in(who, client), record_in(away, client)
  if is_mine(member, stamp) then
    go(client, member, true)
  elseif is_mine(lost, stamp) then
    go(client, lost, false)
  end
  return state()
end

-- A node that is no more, and a cursor: "who" or "away", a space, and what HSCAN takes. Answers the next cursor or ''.
function steps.sweep()
  local node, where, cursor = ARGV[5], string.match(ARGV[6], '^(%a+) (%d+)$')
  local is_member = where == 'who'
  local found = redis.call('HSCAN', is_member and who or away, cursor, 'COUNT', 200)
  for place = 1, #found[2], 2 do
    local record = cmsgpack.unpack(found[2][place + 1])
    if record[NODE] == node then
      go(found[2][place], record, is_member)
    end
  end
  if found[1] ~= '0' then
    return state(where .. ' ' .. found[1])
  end
  return state(is_member and 'away 0' or '')
end

-- How many to list. Answers ids and packed records.
function steps.list()
  return state(redis.call('HRANDFIELD', who, ARGV[5], 'WITHVALUES'))
end

-- A folded name, or '' and a client id. Answers the ids and nodes of the members who are called so.
function steps.find()
  local folded, clients, found = ARGV[5], {}, {}
  if folded == '' then
    clients = { ARGV[6] }
  else
    clients = holding_of(folded) or { '' }
    table.remove(clients, 1)
  end
  for _, client in ipairs(clients) do
    local record = record_in(who, client)
    if record then
      found[#found + 1] = client
      found[#found + 1] = record[NODE]
    end
  end
  return state(found)
end

function steps.count()
  live_on()
  return state()
end

return steps[step]()
