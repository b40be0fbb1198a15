-- Frees keys of a client's name, as far as the client has them.
-- serial, keys...
local serial = arg[1]
for index = 2, #arg do
  local claim = redis.call('HGET', key('names'), arg[index]) or ''
  if string.find(claim, process .. ' ' .. serial .. ' ', 1, true) == 1 then
    redis.call('HDEL', key('names'), arg[index])
    redis.call('SREM', key('names', process), arg[index])
  else
    redis.call('SREM', key('lost', process), arg[index])
  end
end
