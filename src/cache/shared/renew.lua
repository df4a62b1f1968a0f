-- What is still being fetched stays claimed. KEYS: claims. ARGV: lease, their owners.
for i, claim in ipairs(KEYS) do
  local held = redis.call('GET', claim)
  if held and string.match(held, '^%S+') == ARGV[i + 1] then redis.call('PEXPIRE', claim, ARGV[1]) end
end
return 1
