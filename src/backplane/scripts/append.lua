-- Appends an entry to a room's stream. The only way to say something.
-- `period` is the part of the expiry in which the process is: the expiry begins anew once in each.
-- room, serial, before, most entries, expiry in ms, period, new epoch, entry -> offset (0: appended before)
local room, serial, before, most, expiry, period, new, entry = unpack(arg)
local reply = reply_early(serial, before)
if reply then
  return reply
end
local meta = key('meta', room)
local epoch, offset, renewed = unpack(redis.call('HMGET', meta, 'epoch', 'offset', 'renewed'))
epoch = epoch or epoch_of(room, new)
-- Redis may refuse a command in the middle, and the process then sends the entry again. A first write finds out whether Redis
-- accepts writes. Without the right to publish nothing may be kept. If the stream is refused, the entry gets another offset
-- later, so the serial number is recorded last. Processes that have seen the entry before know its id.
redis.call('HSET', meta, 'epoch', epoch)
offset = tonumber(offset or '0') + 1
publish(room, offset .. ' ' .. epoch, '-', entry)
redis.call('HSET', meta, 'offset', offset)
redis.call('XADD', key('stream', room), 'MAXLEN', most, offset .. '-1', 'e', entry)
if renewed ~= period then
  keep(room, expiry)
  redis.call('HSET', meta, 'renewed', period)
end
record_executed(serial, expiry)
return offset
