-- One replica says that it is there, what it has purged and how far it has read; it is
-- told what it has not read yet, who else is there, and how far they are.
-- KEYS: log, meta, heads, members. ARGV: see `keeper`; from the ninth on its entries,
-- each with its number in 16 hex digits before it.
local log, meta, heads, members = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local me, generation, seq, told = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local lease_ms, most, lives_ms, channel = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], ARGV[8]

local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now_ms = math.floor(now_us / 1000)

local current = redis.call('HGET', meta, 'generation')
local head = tonumber(redis.call('HGET', meta, 'seq') or '0')
local mine = tonumber(redis.call('HGET', heads, me) or '0')
-- Generations only grow, whatever the clock does: in 16 hex digits they compare as texts.
local later = string.format('%016x', math.max(now_us, tonumber(generation, 16) + 1))
if not current then
  redis.call('DEL', log, heads, members)
  current, head, mine = later, 0, 0
elseif current < generation or (current == generation and (head < seq or mine < told)) then
  -- It has become older than it was: what is numbered from here on was numbered before.
  current = later
end

local appended = false
for i = 9, #ARGV do
  local number = tonumber(string.sub(ARGV[i], 1, 16), 16)
  if number > mine then
    redis.call('RPUSH', log, me .. ARGV[i])
    head, mine, appended = head + 1, number, true
  end
end
redis.call('LTRIM', log, -most, -1)
redis.call('HSET', meta, 'generation', current, 'seq', string.format('%.0f', head))
redis.call('HSET', heads, me, string.format('%.0f', mine))

local at = generation .. ' ' .. string.format('%.0f', seq)
local others, there, moved = redis.call('HGETALL', members), {}, true
for i = 1, #others, 2 do
  local expires, where = string.match(others[i + 1], '^(%d+) (.*)$')
  if others[i] == me then
    moved = where ~= at
  elseif tonumber(expires) < now_ms then
    redis.call('HDEL', members, others[i])
  else
    there[#there + 1] = others[i]
    there[#there + 1] = where
  end
end
redis.call('HSET', members, me, string.format('%.0f', now_ms + lease_ms) .. ' ' .. at)

if redis.call('HLEN', heads) > 256 then
  for _, origin in ipairs(redis.call('HKEYS', heads)) do
    if redis.call('HEXISTS', members, origin) == 0 then redis.call('HDEL', heads, origin) end
  end
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, lives_ms) end

local first = head - redis.call('LLEN', log) + 1
local from = 0
if current == generation and seq >= first then from = seq - first + 1 end
local entries = redis.call('LRANGE', log, from, -1)
if appended then
  redis.call('PUBLISH', channel, 'l')
elseif moved then
  redis.call('PUBLISH', channel, 'a')
end
return { now_us, current, head, first, mine, entries, redis.call('HGETALL', heads), there }
