-- Removes what a process has left, and publishes that its members have left: each, or their number in rooms with more than
-- `most` members. A process with a lease is only removed by itself, at its end.
-- process, by, most, reason as JSON or "" -> number of rooms in which it had members
local process, by, most, reason = unpack(arg)
if process ~= by and is_alive(process) then
  return 0
end
redis.call('DEL', key('lease', process))
local rooms = redis.call('SMEMBERS', key('rooms', process))
table.sort(rooms)
for _, room in ipairs(rooms) do
  local set = key('members', process, room)
  local members = redis.call('SMEMBERS', set)
  table.sort(members)
  redis.call('DEL', set)
  local before = tonumber(redis.call('ZSCORE', key('rooms'), room)) or 0
  if before > tonumber(most) then
    local now = count(room, -#members)
    publish(room, '- -', now, '{"crowd":{"joined":0,"left":' .. #members .. '}}')
  else
    for _, member in ipairs(members) do
      publish(room, '- -', count(room, -1), left(process, member, reason))
    end
  end
end
for _, name in ipairs(redis.call('SMEMBERS', key('names', process))) do
  local claim = redis.call('HGET', key('names'), name) or ''
  if string.find(claim, process .. ' ', 1, true) == 1 then
    redis.call('HDEL', key('names'), name)
  end
end
redis.call('DEL', key('rooms', process), key('names', process))
redis.call('SREM', key('processes'), process)
return #rooms
