-- Some members of a room, of all processes.
-- room, most -> members in all, then members
local room, most = unpack(arg)
local reply = { tonumber(redis.call('ZSCORE', key('rooms'), room)) or 0 }
local processes = redis.call('SMEMBERS', key('processes'))
table.sort(processes)
for _, other in ipairs(processes) do
  local left_over = tonumber(most) - (#reply - 1)
  if left_over <= 0 then
    break
  end
  for _, member in ipairs(redis.call('SRANDMEMBER', key('members', other, room), left_over)) do
    reply[#reply + 1] = member
  end
end
return reply
