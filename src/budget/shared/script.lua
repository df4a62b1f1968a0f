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
-- tags     "d:division 0", "c:consumer 1" -> start tag in that group; " 0", "d:division v 1" -> virtual
--          time above them; "a d:division" -> when it was last known to wait
-- windows  (KEYS[8…], one per limit of the caller) "id weight division consumer" by until
-- state    epoch, seq, clock, step, opens; m:REPLICA, j: has joined this epoch, e: is expected to,
--          u: limit -> what replicas that do not come back may have charged unseen, w: who waits, i: since
--          when a turn on these limits is kept for another, s: number -> who has that part set
--          aside, and when it was last heard of, c: limit -> when the vendor's 429 closed it, and until
--          when, p: limits whose pace is even since, b: counted_within, in microseconds, that are broken,
--          k:REPLICA, the limits that its plan has
-- schema   whose version of all this is in use, and when it was last heard of; the one key that all
--          versions have in common
local SCHEMA, STATE, CHARGES, CHANGES, EXPIRY, USED, TAGS = unpack(KEYS, 1, 7)
local FIRST_WINDOW = 7
local NEWS, SWEEP = 500, 200
local RECOVERY, JOINING, LEASE, ALIVE, KNOWN = 3000000, 500000, 400000, 10000000, 86400000000
local PATIENCE, SLOTS, RETIRED, SILENT = 100000, 64, 2 * 86400000000, 10000000
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

-- Only one version of this script books for an account: the newest that is there. Whoever comes
-- with another takes the ledger over in one step, with all that counts or may come to count, so
-- that nothing is charged to two ledgers. Of the other's changes nothing is heard from then on:
-- what it has not settled counts for as long as it can. An older version takes over only from one
-- that has been silent. What every version has to keep: the key "schema", the names of "state" and
-- "charges", what a charge looks like, and of the state epoch, opens, clock, step, s:, g:, c:, p:, b: and k:.
local machine = wall_clock()
local version = tonumber(call('HGET', SCHEMA, 'is') or q.schema - 1)
local heard = tonumber(call('HGET', SCHEMA, 'heard') or '0')
local taken, is_whole = {}, false
local function superseded()
  -- Should the other have begun with nothing, it is not all that there is to know.
  if q.acked > 0 then call('HSET', SCHEMA, 'doubt', text(machine)) end
  return { 'superseded', version }
end
if version > q.schema and machine < heard + SILENT then return superseded() end
if version ~= q.schema then
  local theirs = SCHEMA:sub(1, -#'schema' - 1) .. version .. ':'
  local all, was = call('HGETALL', theirs .. 'state'), {}
  for i = 1, #all, 2 do was[all[i]] = all[i + 1] end
  is_whole = was.opens == '0'
  -- Their replicas are telling it what it has lost.
  local theirs_now = machine + tonumber(was.step or '0')
  if was.epoch and not is_whole and theirs_now < tonumber(was.opens) + RECOVERY then return superseded() end
  if was.epoch then
    for i = 2, #KEYS do call('DEL', KEYS[i]) end
    state = {}
    for field, value in pairs(was) do
      if field == 'clock' or field == 'step' or field:match('^[sgcpbk]:') then set(field, value) end
    end
    taken = call('HGETALL', theirs .. 'charges')
    local names = { state = true, charges = true, changes = true, expiry = true, used = true, tags = true }
    for at = 2, #taken, 2 do
      for key in taken[at]:match('(%S*)$'):gmatch('[^,]+') do names['window:' .. key] = true end
    end
    for name in pairs(names) do call('DEL', theirs .. name) end
  end
end

-- Never going back: if the machine's clock is set back, it goes on from where it was.
local wall = machine
local last, step = tonumber(state.clock or '0'), tonumber(state.step or '0')
if wall + step < last then
  step = last - wall
  set('step', text(step))
end
local now = wall + step

local function begin()
  local epoch = q.me .. '.' .. q.n
  for _, prefix in ipairs({ 'j:', 'e:', 'u:', 'w:', 'i:', 'whole' }) do unset(prefix) end
  set('epoch', epoch)
  set('opens', text(now + RECOVERY))
end
if q.reset and q.reset == state.epoch then
  local held = {}
  for field, value in pairs(state) do
    if field:match('^[spbk]:') then held[field] = value end
  end
  for i = 2, #KEYS do call('DEL', KEYS[i]) end
  state = {}
  for field, value in pairs(held) do set(field, value) end
  if step ~= 0 then set('step', text(step)) end
end
if not state.epoch then begin() end
if version ~= q.schema or math.abs(machine - heard) > SILENT / 10 then
  call('HSET', SCHEMA, 'is', q.schema, 'heard', text(machine))
end
for at = 1, #taken, 2 do
  local untill = tonumber(taken[at + 1]:match('^%S (%d+)'))
  set('seq', text(tonumber(state.seq or '0') + 1))
  call('HSET', CHARGES, taken[at], taken[at + 1])
  call('ZADD', CHANGES, state.seq, taken[at])
  call('ZADD', EXPIRY, text(untill + q.keep), taken[at])
end
if is_whole then
  set('opens', '0')
  set('whole', '1')
end
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

local function has(limits, key) return (',' .. limits .. ','):find(',' .. key .. ',', 1, true) end
local function with(limits, more)
  for key in more:gmatch('[^,]+') do
    if not has(limits, key) then limits = limits == '' and key or limits .. ',' .. key end
  end
  return limits
end

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
  call('ZADD', EXPIRY, text((is == 'g' and now or tonumber(untill)) + q.keep), id)
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
  -- A limit that this version of the plan is the first to know counts what is charged already.
  local any_new = false
  for i, limit in ipairs(q.limits) do
    limit.is_new = call('EXISTS', KEYS[FIRST_WINDOW + i]) == 0
    any_new = any_new or limit.is_new
  end
  if any_new then
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
  -- A limit that somebody's plan did not have counts all that he has charged.
  local mine, lacking = '', {}
  for _, limit in ipairs(q.limits) do mine = with(mine, limit.key) end
  set('k:' .. q.me, mine)
  for field, theirs in pairs(state) do
    if field:sub(1, 2) == 'k:' then
      for _, limit in ipairs(q.limits) do
        if not has(theirs, limit.key) then lacking[field:sub(3)] = true end
      end
    end
  end
  if next(lacking) then
    local all = call('HGETALL', CHARGES)
    for at = 1, #all, 2 do
      local id, owner = all[at], all[at]:match('^(%x+)%-') or ''
      local kind, untill, weight, division, consumer, limits =
        all[at + 1]:match('^(%S) (%d+) (%d+) (%S+) (%S+) (%S*)$')
      local known, more = limits, limits
      for i, limit in ipairs(lacking[owner] and kind ~= 'g' and q.limits or {}) do
        if not has(state['k:' .. owner], limit.key) and not has(known, limit.key) then
          enter(i, id, untill, weight, division, consumer)
          more = with(more, limit.key)
        end
      end
      if more ~= known then
        seq = seq + 1
        call('HSET', CHARGES, id, all[at + 1]:match('^(.* )') .. more)
        call('ZADD', CHANGES, seq, id)
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

-- Turns are by start-time fair queueing over all replicas: below its share (0) or borrowing (1), a
-- node has a tag that grows by its price with each of its requests. It outlives windows, so what
-- one got in the last window counts in the next. Whoever was away begins where the others are:
-- at the virtual time, the tag that was served last.
local tags, tagged = {}, {}
local function tag(field)
  if not tags[field] then tags[field] = tonumber(call('HGET', TAGS, field) or '0') end
  return tags[field]
end
local function raise(field, to)
  if tag(field) < to then
    tags[field], tagged[field] = to, true
  end
end
-- What waits: a number of requests of one consumer for the same limits, with price and, limit by
-- limit, the use from which on it borrows: of its division, then its own.
local told = {}
local function flow(keys, division, consumer, number, price, fair)
  local f = { keys = keys, n = number, price = price, fair = fair, node = { 'd:' .. division, 'c:' .. consumer } }
  f.parent = { '', f.node[1] .. ' v' }
  return f
end
local function waits(f)
  for at, node in ipairs(f.node) do
    local seen, parent = 'a ' .. node, f.parent[at]
    if not told[node] and now > tag(seen) + LEASE then
      for _, group in ipairs({ ' 0', ' 1' }) do raise(node .. group, tag(parent .. group)) end
    end
    -- Not written each time: it costs more than it tells.
    if now > tag(seen) + LEASE / 4 then raise(seen, now) end
    told[node], told[parent] = true, true
  end
end
-- Where a request of `f` stands: its division's group and start, then its own; `taken` and `gone`
-- is what would be used, and by how much tags would have grown, by then.
local function place(f, at, taken, gone)
  local node, group = f.node[at], ' 0'
  for i, key in ipairs(f.keys) do
    local field = key .. ' ' .. node
    if used(field) + (taken[field] or 0) >= f.fair[at][i] then group = ' 1' end
  end
  return group, tag(node .. group) + (gone[node .. group] or 0)
end
local function serve(f)
  for at, node in ipairs(f.node) do
    local group, start = place(f, at, {}, {})
    raise(f.parent[at] .. group, start)
    raise(node .. group, start + f.price[at])
  end
end

-- Who waits elsewhere, for limits that have room.
local rivals, most = {}, {}
for field, value in pairs(state) do
  if field:sub(1, 2) == 'w:' and field ~= 'w:' .. q.me then
    local lease, wants = value:match('^(%d+) (.*)$')
    for _, want in ipairs(tonumber(lease) >= now and cjson.decode(wants) or {}) do
      for i, key in ipairs(want.keys) do most[key] = math.min(most[key] or want.most[i], want.most[i]) end
      for _, w in ipairs(want.flows) do
        local division = want.divisions[w[1]]
        local price, fair = { division[2], w[4] }, { division[3], w[5] }
        table.insert(rivals, flow(want.keys, division[1], w[2], w[3], price, fair))
      end
    end
  end
end
local function is_least(a, b)
  for i = 1, 4 do
    if a[i] ~= b[i] then return a[i] < b[i] end
  end
  return false
end
-- How many requests of each flow leave now, in turn, if `left` of each limit is free: of `own`
-- and of who waits elsewhere. Of one consumer's, whichever replica asks first takes the slot.
local function turns(own, left)
  local all, contested = {}, 0
  for _, list in ipairs({ own, rivals }) do
    for _, f in ipairs(list) do
      local n, touches = f.n, false
      for _, key in ipairs(f.keys) do
        touches = touches or left[key]
        local room = (left[key] or (most[key] or 0) - used(key))
        n = math.min(n, room)
      end
      if n > 0 and touches then
        table.insert(all, { f = f, n = n })
        contested = contested + n
      end
    end
  end
  local least = math.huge
  for _, room in pairs(left) do least = math.min(least, room) end
  if contested <= least then return nil end
  local taken, gone, given = {}, {}, {}
  for _ = 1, math.min(least, SLOTS) do
    local first, first_rank
    for _, entry in ipairs(all) do
      if entry.n > 0 then
        local d, d_start = place(entry.f, 1, taken, gone)
        local c, c_start = place(entry.f, 2, taken, gone)
        local rank = { d, d_start, c, c_start }
        if not first or is_least(rank, first_rank) then first, first_rank = entry, rank end
      end
    end
    if not first then break end
    local f = first.f
    first.n = first.n - 1
    for at, node in ipairs(f.node) do
      local field = node .. first_rank[2 * at - 1]
      gone[field] = (gone[field] or 0) + f.price[at]
      for _, key in ipairs(f.keys) do
        taken[key .. ' ' .. node] = (taken[key .. ' ' .. node] or 0) + 1
      end
    end
    given[f.node[2]] = (given[f.node[2]] or 0) + 1
  end
  return given
end

local own, given = {}, {}
for _, b in ipairs(q.bookings or {}) do
  local keys = {}
  for i, on in ipairs(b.limits) do keys[i] = on.key end
  b.set = table.concat(keys, ',')
  if b.turn then
    b.flow = flow(keys, b.division, b.consumer, 1, b.turn.price, b.turn.fair)
    table.insert(own, b.flow)
    waits(b.flow)
  end
end
-- Whether it is the turn of `b`, if it may leave as far as limits go.
local function is_in_turn(b)
  local left, capacity, is_contested = {}, b.set, false
  for _, on in ipairs(b.limits) do
    if on.turn then
      is_contested = true
      left[on.key] = on.most - used(on.key)
      capacity = capacity .. ' ' .. on.most
    end
  end
  if not is_contested or #rivals == 0 then return true end
  if not b.flow then return turns(own, left) == nil end
  -- Once for all bookings of this call that see the same room.
  if not given[capacity] then given[capacity] = turns(own, left) or 'all' end
  local mine = given[capacity]
  if mine == 'all' then return true end
  local number = mine[b.flow.node[2]] or 0
  mine[b.flow.node[2]] = number - 1
  return number > 0
end

local function refusal(b)
  if now > q.by then return 'late' end
  if not open then return 'shut' end
  for _, on in ipairs(b.limits) do
    if used(on.key) >= on.most then return 'full' end
    local _, opens_at = closing(on.key)
    if tonumber(opens_at) > now then return 'full' end
    if on.division and used(on.key .. ' d:' .. b.division) >= on.division then return 'full' end
    if on.consumer and used(on.key .. ' c:' .. b.consumer) >= on.consumer then return 'full' end
    if on.gap and tonumber(state['g:' .. on.key] or '0') + on.gap > now then return 'full' end
  end
  -- Unless whoever's turn it is does not come: it is slow, or no more.
  local kept = tonumber(b.flow and state['i:' .. b.set] or now)
  if not is_in_turn(b) and now <= kept + PATIENCE then return 'turn' end
end

local verdicts = {}
for at, b in ipairs(q.bookings or {}) do
  local no, kept = not b.anyway and refusal(b), 'i:' .. b.set
  if not no then
    if b.flow then
      serve(b.flow)
      b.flow.n = 0
    end
    put(b.id, b.record)
    for _, on in ipairs(b.limits) do
      if on.gap then set('g:' .. on.key, text(now)) end
    end
    if state[kept] then
      call('HDEL', STATE, kept)
      state[kept] = nil
    end
  elseif no == 'turn' and not state[kept] then
    set(kept, text(now))
  end
  verdicts[at] = no or 'yes'
  if b.flow and (no == 'turn' or no == 'full') then
    -- It waits on, and counts among those who do.
    local of, bounds = b.turn, {}
    for i, on in ipairs(b.limits) do bounds[i] = on.most end
    local division, one = { b.division, of.price[1], of.fair[1] }, { 1, b.consumer, 1, of.price[2], of.fair[2] }
    table.insert(q.wants, { keys = b.flow.keys, most = bounds, divisions = { division }, flows = { one } })
  end
end
for _, want in ipairs(q.wants or {}) do
  for _, w in ipairs(want.flows) do waits(flow(want.keys, want.divisions[w[1]][1], w[2], w[3])) end
end

if q.wants and #q.wants > 0 then
  set('w:' .. q.me, text(now + LEASE) .. ' ' .. cjson.encode(q.wants))
elseif state['w:' .. q.me] then
  call('HDEL', STATE, 'w:' .. q.me)
end
for field in pairs(tagged) do call('HSET', TAGS, field, text(tags[field])) end
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
    -- What it charged may count for so long after it was last heard of.
    if at + KNOWN + q.keep < now then call('HDEL', STATE, field, 'k:' .. field:sub(3)) end
  end
end
local known_tags = {}
for node in pairs(told) do
  for _, word in ipairs({ node, text(tag(node .. ' 0')), text(tag(node .. ' 1')) }) do
    table.insert(known_tags, word)
  end
end
local lessons = {}
for _, limit in ipairs(q.limits) do
  local closed, opens_at = closing(limit.key)
  local even = state['p:' .. limit.key] or '0'
  if closed ~= '0' or even ~= '0' then table.insert(lessons, table.concat({ limit.key, closed, opens_at, even }, ' ')) end
end
local is_broken = q.promise and state['b:' .. text(q.promise)] and 1 or 0
return { 'ok', state.epoch, now, wall, seq, top, open and 0 or opens, verdicts, news, members, known_tags,
  slot, holders, lessons, is_broken }
