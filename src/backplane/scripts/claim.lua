-- Gives a name to a client, or says who has it or a look-alike. A claim without a live process does not count.
-- `over` decides about other clients that have the name: 0 leaves it to them, 1 to those that have logged in to the account of
-- that name, 2 to nobody. Clients of other processes are sent a notice if they lose it. Their process may not receive it, so the
-- name is listed as lost until the process releases it or registers its clients. `own` is 1 if the client has logged in to that
-- account.
-- serial, over, own, name, keys of the name... -> "" or the claim of another client, "PROCESS SERIAL OWN NAME"
local serial, over, own, name = unpack(arg, 1, 4)
local names, lost = key('names'), {}
for index = 5, #arg do
  local claim = redis.call('HGET', names, arg[index])
  if claim then
    local holder, other, owns = string.match(claim, '^(%x+) (%d+) (%d)')
    if (holder ~= process or other ~= serial) and is_alive(holder) then
      if over == '0' or (over == '1' and owns == '1') then
        return claim
      end
      -- A client that has several of the keys loses them once.
      if holder ~= process and not lost[holder .. other] then
        lost[holder .. other] = true
        lost[#lost + 1] = { holder, other, owns }
      end
    end
  end
end
for _, claim in ipairs(lost) do
  redis.call('PUBLISH', ARGV[2] .. '@' .. claim[1], 'chinwag taken ' .. claim[2] .. ' ' .. claim[3] .. ' ' .. name)
end
for index = 5, #arg do
  local holder = string.match(redis.call('HGET', names, arg[index]) or '', '^(%x+) ')
  if holder and holder ~= process then
    redis.call('SREM', key('names', holder), arg[index])
    if is_alive(holder) then
      redis.call('SADD', key('lost', holder), arg[index])
    end
  end
  -- The list comes first, so that a refused command leaves no name that is not listed.
  list('names', arg[index])
  redis.call('HSET', names, arg[index], table.concat({ process, serial, own, name }, ' '))
end
return ''
