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
