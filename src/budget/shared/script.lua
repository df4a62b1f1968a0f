-- The shared ledger of one upstream: what all replicas have charged, on Redis's own clock.
--
-- One call is one step: the caller's changes (settled, refunded, remembered) go in, what has
-- lapsed goes out, then each booking is charged to all of its limits, or to none. The rest of
-- the answer is news: what others have changed since the caller last looked.
--
-- charges  id -> "state until weight division consumer limit,limit…"; state p(ending), s(ettled)
--          or g(one); until: the last microsecond, on this clock, at which the vendor counts it
-- changes  id by the number of its last change        expiry  id by when nobody needs it any more
-- used     "limit", "limit d:division" or "limit c:consumer" -> charges that count now
-- windows  (KEYS[6…], one per limit of the caller) "id weight division consumer" by until
-- state    epoch, seq, clock, step, opens; m:REPLICA, j: has joined this epoch, e: is expected to,
--          u: limit -> what replicas that do not come back may have charged unseen, w: who waits
local STATE, CHARGES, CHANGES, EXPIRY, USED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local FIRST_WINDOW = 5
local NEWS, SWEEP = 500, 200
local RECOVERY, JOINING, LEASE, ALIVE, KNOWN = 3000000, 500000, 400000, 10000000, 86400000000
local call = redis.call
local q = cjson.decode(ARGV[1])

local function text(number) return string.format('%.0f', number) end

local state, members = {}, {}
local function load()
  state = {}
  local all = call('HGETALL', STATE)
  for i = 1, #all, 2 do state[all[i]] = all[i + 1] end
end
local function set(field, value)
  state[field] = value
  call('HSET', STATE, field, value)
end
local function unset(prefix)
  for field in pairs(state) do
    if field:sub(1, #prefix) == prefix then
      call('HDEL', STATE, field)
      state[field] = nil
    end
  end
end
load()

-- Never going back: if the machine's clock is set back, it goes on from where it was.
local wall = wall_clock()
local last, step = tonumber(state.clock or '0'), tonumber(state.step or '0')
if wall + step < last then
  step = last - wall
  set('step', text(step))
end
local now = wall + step

local function begin()
  local epoch = q.me .. '.' .. q.n
  for _, prefix in ipairs({ 'j:', 'e:', 'u:', 'w:' }) do unset(prefix) end
  set('epoch', epoch)
  set('opens', text(now + RECOVERY))
end
if q.reset and q.reset == state.epoch then
  for i = 1, #KEYS do call('DEL', KEYS[i]) end
  state = {}
  if step ~= 0 then set('step', text(step)) end
end
if not state.epoch then begin() end
local me = 'm:' .. q.me
local calls, heard, ready = (state[me] or ''):match('^(%d+) (%d+) (%d+)$')
if calls and q.n <= tonumber(calls) then return { 'stale', state.epoch, now, wall } end
-- An older snapshot, or a replica that was not told everything, knows fewer of our calls.
if q.epoch == state.epoch and tonumber(calls or '0') < q.acked then begin() end
local known = q.epoch == state.epoch
set('clock', text(now))
if not known and not q.join then return { 'epoch', state.epoch, now, wall } end
if q.join and q.join ~= state.epoch then return { 'epoch', state.epoch, now, wall } end
if not ready then ready = q.fresh and text(now + JOINING) or '0' end
set(me, q.n .. ' ' .. text(now) .. ' ' .. ready)

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

-- A change of one charge, as often as it comes. What is settled or gone is never pending again.
local function put(id, record)
  local old = call('HGET', CHARGES, id)
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
  call('ZADD', EXPIRY, text((is == 'g' and now or tonumber(untill)) + q.keep), id)
end

if q.join then
  if not q.more then set('j:' .. q.me, '1') end
  for _, id in ipairs(q.expects or {}) do set('e:' .. id, '1') end
  for _, unseen in ipairs(q.unseen or {}) do
    local field = 'u:' .. unseen.key
    if tonumber(state[field] or '0') < unseen.weight then set(field, tostring(unseen.weight)) end
  end
  -- A limit that this version of the plan is the first to know counts what is charged already.
  local any_new = false
  for i, limit in ipairs(q.limits) do
    limit.is_new = call('EXISTS', KEYS[FIRST_WINDOW + i]) == 0
    any_new = any_new or limit.is_new
  end
  if any_new and not q.more then
    local all = call('HGETALL', CHARGES)
    for at = 1, #all, 2 do
      local kind, untill, weight, division, consumer, limits =
        all[at + 1]:match('^(%S) (%d+) (%d+) (%S+) (%S+) (%S*)$')
      for key in limits:gmatch('[^,]+') do
        local i = index[key]
        if i and kind ~= 'g' and q.limits[i].is_new then enter(i, all[at], untill, weight, division, consumer) end
      end
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

for i, limit in ipairs(q.limits) do
  local over = limit.cut and '(' .. text(limit.cut) or text(now - limit.life)
  for _, member in ipairs(call('ZRANGEBYSCORE', KEYS[FIRST_WINDOW + i], '-inf', over)) do leave(i, member) end
end
for _, id in ipairs(call('ZRANGEBYSCORE', EXPIRY, '-inf', text(now), 'LIMIT', 0, SWEEP)) do
  call('HDEL', CHARGES, id)
  call('ZREM', CHANGES, id)
  call('ZREM', EXPIRY, id)
end

-- Who waits elsewhere, and would go before `rank` on `key`: by what has been used up to now.
local rivals = {}
for field, value in pairs(state) do
  if field:sub(1, 2) == 'w:' and field ~= 'w:' .. q.me then
    local lease, wants = value:match('^(%d+) (.*)$')
    if tonumber(lease) >= now then
      for _, want in ipairs(cjson.decode(wants)) do table.insert(rivals, want) end
    end
  end
end
local function is_before(a, b)
  for i = 1, #a do
    if a[i] ~= b[i] then return a[i] < b[i] end
  end
  return false
end
local function rank_of(t)
  local d = used(t.key .. ' d:' .. t.division) + t.ahead[1]
  local c = used(t.key .. ' c:' .. t.consumer) + t.ahead[2]
  return { d < t.fair[1] and 0 or 1, d * t.price[1], c < t.fair[2] and 0 or 1, c * t.price[2] }
end
local function ahead(key, rank)
  local number = 0
  for _, want in ipairs(rivals) do
    -- In the order in which they leave: so of all replicas' first ones the least may always go.
    local least
    for _, turn in ipairs(want.keys[key] and want.turns or {}) do
      local other = rank_of(turn)
      if not least or is_before(least, other) then least = other end
      if not is_before(least, rank) then break end
      number = number + 1
    end
  end
  return number
end

local function refusal(b)
  if now > q.by then return 'late' end
  if not open then return 'shut' end
  local turn
  local rank = b.turn and rank_of(b.turn) or { 2, 0, 0, 0 }
  for _, on in ipairs(b.limits) do
    local count = used(on.key)
    if count >= on.most then return 'full' end
    if on.division and used(on.key .. ' d:' .. b.division) >= on.division then return 'full' end
    if on.consumer and used(on.key .. ' c:' .. b.consumer) >= on.consumer then return 'full' end
    if on.gap and tonumber(state['g:' .. on.key] or '0') + on.gap > now then return 'full' end
    if on.turn and count + ahead(on.key, rank) >= on.most then turn = 'turn' end
  end
  return turn
end

local verdicts = {}
for at, b in ipairs(q.bookings or {}) do
  local no = not b.anyway and refusal(b)
  if not no then
    put(b.id, b.record)
    for _, on in ipairs(b.limits) do
      if on.gap then set('g:' .. on.key, text(now)) end
    end
  end
  verdicts[at] = no or 'yes'
  if b.turn and (no == 'turn' or no == 'full') then
    -- It waits on, and counts among those who do.
    local keys = {}
    for _, on in ipairs(b.limits) do keys[on.key] = true end
    table.insert(q.wants, { keys = keys, turns = { b.turn } })
  end
end

if q.wants and #q.wants > 0 then
  set('w:' .. q.me, text(now + LEASE) .. ' ' .. cjson.encode(q.wants))
elseif state['w:' .. q.me] then
  call('HDEL', STATE, 'w:' .. q.me)
end
if tostring(seq) ~= state.seq then set('seq', text(seq)) end

local news, top = {}, seq
if q.seen < seq then
  local found = call('ZRANGEBYSCORE', CHANGES, '(' .. text(q.seen), '+inf', 'WITHSCORES', 'LIMIT', 0, NEWS)
  local own = q.me .. '-'
  for at = 1, #found, 2 do
    local id = found[at]
    if id:sub(1, #own) ~= own then
      table.insert(news, id)
      table.insert(news, call('HGET', CHARGES, id))
    end
  end
  if #found == 2 * NEWS then top = tonumber(found[#found]) end
end
for field, value in pairs(state) do
  if field:sub(1, 2) == 'm:' then
    local at = tonumber(value:match('^%d+ (%d+)'))
    if at + ALIVE > now then table.insert(members, field:sub(3)) end
    if at + KNOWN < now then call('HDEL', STATE, field) end
  end
end
return { 'ok', state.epoch, now, wall, seq, top, open and 0 or opens, verdicts, news, members }
