-- Removes a member from a room, and publishes that unless the room had more than `most` members before.
-- room, member, most, entry -> members, 1 if it was published now
local room, member, most, entry = unpack(arg)
if redis.call('SREM', key('members', process, room), member) == 0 then
  return { tonumber(redis.call('ZSCORE', key('rooms'), room)) or 0, 0 }
end
local now = count(room, -1)
local published = now + 1 <= tonumber(most)
if published then
  publish(room, '- -', now, entry)
end
unlist_if_empty(room)
return { now, published and 1 or 0 }
