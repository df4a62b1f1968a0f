-- A small thing that all replicas use, and its identity in 32 letters before it. KEYS: it.
-- ARGV: what is to be done, then identity, bytes and life.
local what, id = ARGV[1], ARGV[2]
if what == 'put' then
  redis.call('SET', KEYS[1], id .. ARGV[3], 'PX', ARGV[4])
  return 1
end
local there = redis.call('GET', KEYS[1])
if what == 'drop' then
  if there and string.sub(there, 1, 32) == id then redis.call('DEL', KEYS[1]) end
  return 1
end
return there and string.sub(there, 33)
