-- Whether somebody fetches this, and what is kept of it; if nobody does, and it is
-- wanted, it is the asker's from here on. KEYS: claim, record.
-- ARGV: 1 if wanted, owner, lease, generation, position, the least position that an
-- answer on its way must have been begun at.
local claim, record = KEYS[1], KEYS[2]
local held = redis.call('GET', claim)
if held then
  local generation, seq = string.match(held, '^%S+ (%S+) (%d+)$')
  if generation == ARGV[4] and tonumber(seq) >= tonumber(ARGV[6]) then return { 1 } end
end
if ARGV[1] == '1' then
  redis.call('SET', claim, ARGV[2] .. ' ' .. ARGV[4] .. ' ' .. ARGV[5], 'PX', ARGV[3])
end
return { 0, redis.call('HGETALL', record) }
