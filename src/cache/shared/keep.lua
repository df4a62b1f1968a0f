-- Keeps one sealed answer, within the bound in bytes of all of them; what is soonest
-- over goes first. KEYS: record, index, sizes.
-- ARGV: field, bytes, how long it is of use, the bound in bytes, variants at most.
local record, index, sizes = KEYS[1], KEYS[2], KEYS[3]
local field, bytes, ttl_ms, most, variants = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local OVERHEAD = 512 -- what Redis needs beside the bytes, all three keys together

local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function size_of(name) return tonumber(redis.call('HGET', sizes, name) or '0') end
local function drop(name)
  redis.call('HINCRBY', sizes, 'total', 0 - size_of(name))
  redis.call('HDEL', sizes, name)
  redis.call('ZREM', index, name)
  redis.call('DEL', name)
end

if redis.call('ZCARD', index) == 0 then redis.call('DEL', sizes) end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', index, '-inf', now_ms, 'LIMIT', 0, 64)) do drop(name) end
if redis.call('HEXISTS', record, field) == 0 and redis.call('HLEN', record) >= variants then drop(record) end
if redis.call('EXISTS', record) == 0 then drop(record) end

local before = size_of(record)
local grown = #bytes - redis.call('HSTRLEN', record, field)
if before == 0 then grown = grown + OVERHEAD end
redis.call('HSET', record, field, bytes)
local ends = math.max(now_ms + ttl_ms, tonumber(redis.call('ZSCORE', index, record) or '0'))
redis.call('PEXPIRE', record, ends - now_ms)
redis.call('ZADD', index, ends, record)
redis.call('HINCRBY', sizes, record, grown)
redis.call('HINCRBY', sizes, 'total', grown)
for _ = 1, 256 do
  if size_of('total') <= most then break end
  local name = redis.call('ZRANGE', index, 0, 0)[1]
  if not name then break end
  drop(name)
end
-- Longer than anything in them.
redis.call('PEXPIRE', index, 691200000)
redis.call('PEXPIRE', sizes, 691200000)
return 1
