-- Removes what a process has left, and publishes that its members have left: each, or their number in rooms with more than
-- `most` members. A process with a lease is only removed by itself, at its end.
-- dead process, most, reason as JSON or ""
local dead, most, reason = unpack(arg)
if dead ~= process and is_alive(dead) then
  return
end
redis.call('DEL', key('lease', dead))
local rooms = redis.call('SMEMBERS', key('rooms', dead))
table.sort(rooms)
for _, room in ipairs(rooms) do
  local set = key('members', dead, room)
  local members = redis.call('SMEMBERS', set)
  table.sort(members)
  redis.call('DEL', set)
  local before = tonumber(redis.call('ZSCORE', key('rooms'), room)) or 0
  if before > tonumber(most) then
    local now = count(room, -#members)
    publish(room, '- -', now, '{"crowd":{"joined":0,"left":' .. #members .. '}}')
  else
    for _, member in ipairs(members) do
      publish(room, '- -', count(room, -1), left(dead, member, reason))
    end
  end
end
free_names(dead)
redis.call('DEL', key('rooms', dead))
redis.call('SREM', key('processes'), dead)
