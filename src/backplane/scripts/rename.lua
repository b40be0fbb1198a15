-- Renames a member in its rooms, and publishes that in those with at most `most` members.
-- old member, new member, most, entry, rooms... -> number of rooms in which it was published
local old, new, most, entry = unpack(arg, 1, 4)
local published = 0
for index = 5, #arg do
  local room = arg[index]
  if redis.call('SREM', key('members', process, room), old) == 1 then
    local is_new = redis.call('SADD', key('members', process, room), new)
    -- The process repeats commands whose replies are lost, such as the join and then the rename of a client. After the second
    -- join the set has the client under both names.
    local now = count(room, is_new - 1)
    if now <= tonumber(most) then
      publish(room, '- -', now, entry)
      published = published + 1
    end
  end
end
return published
