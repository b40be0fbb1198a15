-- Replaces the members that a process has in a room. The differences are published if `most` is not exceeded.
-- room, most, members...
local room, most = unpack(arg, 1, 2)
local set, new = key('members', process, room), {}
for index = 3, #arg do
  new[arg[index]] = true
end
local old = redis.call('SMEMBERS', set)
table.sort(old)
for _, member in ipairs(old) do
  if not new[member] then
    redis.call('SREM', set, member)
    local now = count(room, -1)
    if now + 1 <= tonumber(most) then
      publish(room, '- -', now, left(process, member, ''))
    end
  end
end
for index = 3, #arg do
  if redis.call('SADD', set, arg[index]) == 1 then
    local now = count(room, 1)
    if now <= tonumber(most) then
      publish(room, '- -', now, joined(arg[index]))
    end
  end
end
list('rooms', room)
unlist_if_empty(room)
