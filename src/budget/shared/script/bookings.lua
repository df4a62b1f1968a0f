-- The bookings of this call, and the answer.
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
