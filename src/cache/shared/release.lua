-- A fetch has ended: who waits for it is told how. KEYS: claim. ARGV: owner, channel, word.
local held = redis.call('GET', KEYS[1])
if held and string.match(held, '^%S+') == ARGV[1] then redis.call('DEL', KEYS[1]) end
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
