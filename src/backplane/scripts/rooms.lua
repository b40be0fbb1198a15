-- The largest rooms.
-- most -> rooms in all, then room and members of each
local reply = { redis.call('ZCARD', key('rooms')) }
local most = tonumber(arg[1])
-- The end -1 would stand for all.
if most > 0 then
  for _, word in ipairs(redis.call('ZREVRANGE', key('rooms'), 0, most - 1, 'WITHSCORES')) do
    reply[#reply + 1] = word
  end
end
return reply
