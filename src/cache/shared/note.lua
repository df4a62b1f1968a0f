-- A small thing that all replicas use. KEYS: it. ARGV, to keep it: bytes and life.
if #ARGV == 0 then return redis.call('GET', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
