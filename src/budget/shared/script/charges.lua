-- Charges: what changes them, what a replica that joins tells, what lapses; what the vendor taught.
local index = {}
for i, limit in ipairs(q.limits) do index[limit.key] = i end
local seq = tonumber(state.seq or '0')

local counts = {}
local function used(key)
  if not counts[key] then counts[key] = tonumber(call('HGET', USED, key) or '0') end
  return counts[key]
end
local function count(key, weight, division, consumer, by)
  for _, node in ipairs({ key, key .. ' d:' .. division, key .. ' c:' .. consumer }) do
    counts[node] = call('HINCRBY', USED, node, by * weight)
  end
end

local function enter(i, id, untill, weight, division, consumer)
  local member = id .. ' ' .. weight .. ' ' .. division .. ' ' .. consumer
  if call('ZADD', KEYS[FIRST_WINDOW + i], untill, member) == 1 then
    count(q.limits[i].key, weight, division, consumer, 1)
  end
end

local function leave(i, member)
  if call('ZREM', KEYS[FIRST_WINDOW + i], member) == 1 then
    local weight, division, consumer = member:match('^%S+ (%S+) (%S+) (%S+)$')
    count(q.limits[i].key, weight, division, consumer, -1)
  end
end

local function has(limits, key) return (',' .. limits .. ','):find(',' .. key .. ',', 1, true) end
local function with(limits, more)
  for key in more:gmatch('[^,]+') do
    if not has(limits, key) then limits = limits == '' and key or limits .. ',' .. key end
  end
  return limits
end

-- Never shorter than before: it may count on a limit that its owner does not know.
local function keep_until(id, untill) call('ZADD', EXPIRY, 'GT', text(untill + q.keep), id) end

-- A change of one charge, as often as it comes. What is settled or gone is never pending again.
local function put(id, record)
  local old = call('HGET', CHARGES, id)
  -- A limit that its owner does not know counts it to the end.
  if old then record = record:match('^(.* )') .. with(record:match('(%S*)$'), old:match('(%S*)$')) end
  local was, is = old and old:sub(1, 1), record:sub(1, 1)
  if old == record or was == 'g' or (was == 's' and is == 'p') or (q.join and was == is) then return end
  if is == 'g' and not old then return end
  local untill, weight, division, consumer, limits = record:match('^%S (%d+) (%d+) (%S+) (%S+) (%S*)$')
  for key in limits:gmatch('[^,]+') do
    local i = index[key]
    if i and is == 'g' then
      leave(i, id .. ' ' .. weight .. ' ' .. division .. ' ' .. consumer)
    elseif i then
      enter(i, id, untill, weight, division, consumer)
    end
  end
  seq = seq + 1
  call('HSET', CHARGES, id, record)
  call('ZADD', CHANGES, seq, id)
  keep_until(id, is == 'g' and now or tonumber(untill))
end

if q.join then
  if not q.more then set('j:' .. q.me, '1') end
  for _, id in ipairs(q.expects or {}) do
    set('e:' .. id, '1')
    -- Whoever was there before remembers what a snapshot that was taken over may not have.
    if state.whole then set('opens', text(now + RECOVERY)) end
    unset('whole')
  end
  for _, unseen in ipairs(q.unseen or {}) do
    local field = 'u:' .. unseen.key
    if tonumber(state[field] or '0') < unseen.weight then set(field, tostring(unseen.weight)) end
  end
  -- Each limit counts all that was charged by owners whose plan lacked it. Where its window is
  -- empty (what another version had is taken over without), it counts what names it, too.
  local mine, lacking, is_due = '', {}, false
  for i, limit in ipairs(q.limits) do
    mine = with(mine, limit.key)
    limit.is_empty = call('EXISTS', KEYS[FIRST_WINDOW + i]) == 0
    is_due = is_due or limit.is_empty
  end
  set('k:' .. q.me, mine)
  for field, theirs in pairs(state) do
    if field:sub(1, 2) == 'k:' then
      for _, limit in ipairs(q.limits) do
        if not has(theirs, limit.key) then
          lacking[field:sub(3)] = theirs
          is_due = true
        end
      end
    end
  end
  local all = is_due and call('HGETALL', CHARGES) or {}
  for at = 1, #all, 2 do
    local id, theirs = all[at], lacking[all[at]:match('^(%x+)%-') or '']
    local kind, untill, weight, division, consumer, limits =
      all[at + 1]:match('^(%S) (%d+) (%d+) (%S+) (%S+) (%S*)$')
    local more = limits
    for i, limit in ipairs(kind ~= 'g' and q.limits or {}) do
      local is_named = has(limits, limit.key)
      local is_lacked = not is_named and theirs and not has(theirs, limit.key)
      if is_lacked then more = with(more, limit.key) end
      if is_lacked or (is_named and limit.is_empty) then enter(i, id, untill, weight, division, consumer) end
    end
    if more ~= limits then
      seq = seq + 1
      call('HSET', CHARGES, id, all[at + 1]:match('^(.* )') .. more)
      call('ZADD', CHANGES, seq, id)
      keep_until(id, tonumber(untill))
    end
  end
end
for _, change in ipairs(q.changes or {}) do put(change.id, change.record) end

-- Bookings wait until everybody who may remember more has said so.
local function is_open()
  if now < tonumber(ready) then return false, tonumber(ready) end
  local opens = tonumber(state.opens)
  if opens == 0 then return true end
  local expected, missing = false, false
  for field in pairs(state) do
    if field:sub(1, 2) == 'e:' then
      expected = true
      missing = missing or not state['j:' .. field:sub(3)]
    end
  end
  if (missing or not expected) and now < opens then return false, opens end
  if missing or not expected then
    -- A replica of another version may remember more, and is not asked.
    if machine < tonumber(call('HGET', SCHEMA, 'doubt') or '0') + ALIVE then
      for _, limit in ipairs(q.limits) do set('u:' .. limit.key, text(limit.requests)) end
    end
    for field, weight in pairs(state) do
      if field:sub(1, 2) == 'u:' then
        local key, untill = field:sub(3), text(now + q.longest)
        put('unseen.' .. state.epoch .. '.' .. key, 's ' .. untill .. ' ' .. weight .. ' - - ' .. key)
      end
    end
  end
  unset('u:')
  set('opens', '0')
  return true
end
local open, opens = is_open()

-- Parts set aside. Whoever has one keeps it; what nobody has, or has had for long, is given away
-- once everybody has told who has which.
local slot, holders = 0, {}
if q.claim then
  local function held(k)
    local name, at = (state['s:' .. k] or ''):match('^(%S+) (%d+)$')
    return name, tonumber(at)
  end
  for _, known in ipairs(q.claim.holders) do
    if not state['s:' .. known[1]] then set('s:' .. known[1], known[2] .. ' ' .. text(now)) end
  end
  for k = 1, q.claim.slots do
    if held(k) == q.claim.name then slot = k end
  end
  for k = 1, slot == 0 and open and q.claim.slots or 0 do
    local _, at = held(k)
    if not at or at + RETIRED + q.keep < now then
      slot = k
      break
    end
  end
  local name, at = held(slot)
  if slot > 0 and (name ~= q.claim.name or at + 60000000 < now) then
    set('s:' .. slot, q.claim.name .. ' ' .. text(now))
  end
  for k = 1, q.claim.slots do
    if held(k) then table.insert(holders, k .. ' ' .. held(k)) end
  end
end

for i, limit in ipairs(q.limits) do
  local over = limit.cut and '(' .. text(limit.cut) or text(now - limit.life)
  for _, member in ipairs(call('ZRANGEBYSCORE', KEYS[FIRST_WINDOW + i], '-inf', over)) do leave(i, member) end
end
for _, id in ipairs(call('ZRANGEBYSCORE', EXPIRY, '-inf', text(now), 'LIMIT', 0, SWEEP)) do
  call('HDEL', CHARGES, id)
  call('ZREM', CHANGES, id)
  call('ZREM', EXPIRY, id)
end

-- What the vendor has taught one of us, all heed. What it counts beyond what is charged here was
-- used by others; after a 429 they are taken to have used all that was left.
local others_told = 0
local function others(key, all, untill)
  local missing = math.min(all, q.limits[index[key]].requests) - used(key)
  if missing <= 0 then return end
  others_told = others_told + 1
  local id = 'others.' .. q.me .. '.' .. q.n .. '.' .. others_told
  put(id, 's ' .. text(untill) .. ' ' .. text(missing) .. ' - - ' .. key)
end
local function closing(key) return (state['c:' .. key] or '0 0'):match('^(%d+) (%d+)$') end
for _, lesson in ipairs(q.lessons or {}) do
  if lesson.even and not state['p:' .. lesson.key] then set('p:' .. lesson.key, '1') end
  if tonumber((closing(lesson.key))) < lesson.closed then
    set('c:' .. lesson.key, text(lesson.closed) .. ' ' .. text(lesson.opens))
    others(lesson.key, math.huge, lesson.used_by)
  end
end
for _, report in ipairs(q.reports or {}) do others(report.key, report.used, now) end
if q.broken and not state['b:' .. text(q.promise)] then set('b:' .. text(q.promise), '1') end
