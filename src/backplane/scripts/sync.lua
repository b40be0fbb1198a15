-- Reads a room from a position on, or its last entries if the position is of another epoch.
-- If the entry at the position is another one than the process has, Redis has lost entries: a new epoch begins.
-- room, epoch ("" for none), offset, id of the entry there ("" for none), new epoch, most entries, most bytes, expiry in ms
-- -> epoch, offset at which the epoch began, offset of the last entry, topic, then offset and entry of each entry read
local room, epoch, offset, id, new, most, bytes, expiry = unpack(arg)
local meta, stream = key('meta', room), key('stream', room)
local present = epoch_of(room, new)
if epoch == present then
  local last = tonumber(redis.call('HGET', meta, 'offset'))
  local lost = last < tonumber(offset)
  local there = id ~= '' and redis.call('XRANGE', stream, offset, offset)[1]
  if there and not string.find(there[2][2], '"id":"' .. id .. '"', 1, true) then
    lost = true
  end
  if lost then
    redis.call('HSET', meta, 'epoch', new, 'start', last)
    present = new
  end
end
local read
if epoch == present then
  read = redis.call('XRANGE', stream, (tonumber(offset) + 1) .. '-0', '+', 'COUNT', most)
else
  read = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', most)
end
local state = redis.call('HMGET', meta, 'start', 'offset', 'topic')
local reply = { present, tonumber(state[1]), tonumber(state[2]), state[3] or '' }
local size, taken = 0, {}
-- Redis reads nothing, not even an empty list, if there are no entries to read at most.
for _, item in ipairs(read or {}) do
  local entry = item[2][2]
  size = size + #entry
  if size > tonumber(bytes) and #taken > 0 then
    break
  end
  taken[#taken + 1] = { tonumber(string.match(item[1], '^%d+')), entry }
end
local first, final, step = 1, #taken, 1
if epoch ~= present then
  first, final, step = #taken, 1, -1
end
for index = first, final, step do
  reply[#reply + 1] = taken[index][1]
  reply[#reply + 1] = taken[index][2]
end
keep(room, expiry)
return reply
