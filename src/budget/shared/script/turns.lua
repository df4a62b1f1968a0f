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
