-- Adds entries that the hash of bans, mutes and registered names does not have, deletes those that have ended, and reads the rest.
-- A value is JSON, and its last field is its end if it has one.
-- time in ms, then key and value of each entry -> key and value of each entry in the hash
local now, access, is_new = tonumber(arg[1]), key('access'), false
for index = 2, #arg, 2 do
  if redis.call('HSETNX', access, arg[index], arg[index + 1]) == 1 then
    is_new = true
  end
end
if is_new then
  redis.call('PUBLISH', ARGV[2] .. '@access', 'chinwag changed')
end
local all, reply = redis.call('HGETALL', access), {}
for index = 1, #all, 2 do
  local till = string.match(all[index + 1], '"until_unix_millis":(%d+)}$')
  if till and tonumber(till) <= now then
    redis.call('HDEL', access, all[index])
  else
    reply[#reply + 1] = all[index]
    reply[#reply + 1] = all[index + 1]
  end
end
return reply
