-- Adds a member to a room, and publishes that unless the room has more than `most` members then.
-- room, member, most, entry -> members, 1 if it was published now
local room, member, most, entry = unpack(arg)
if redis.call('SADD', key('members', process, room), member) == 0 then
  return { tonumber(redis.call('ZSCORE', key('rooms'), room)) or 0, 0 }
end
list('rooms', room)
local now = count(room, 1)
if now > tonumber(most) then
  return { now, 0 }
end
publish(room, '- -', now, entry)
return { now, 1 }
