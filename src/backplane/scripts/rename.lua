-- Renames a member in its rooms, and publishes that in those with at most `most` members.
-- old member, new member, most, entry, rooms... -> number of rooms in which it was published
local old, new, most, entry = unpack(arg, 1, 4)
local published = 0
for index = 5, #arg do
  local room = arg[index]
  if redis.call('SREM', key('members', process, room), old) == 1 then
    redis.call('SADD', key('members', process, room), new)
    local now = tonumber(redis.call('ZSCORE', key('rooms'), room)) or 0
    if now <= tonumber(most) then
      publish(room, '- -', now, entry)
      published = published + 1
    end
  end
end
return published
