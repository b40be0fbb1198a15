-- Appends an entry to a room's stream, unless the process has appended it before. The only way to say something.
-- `before` is the serial number of the last entry of the process that it has sent and got no reply for, or 0. If Redis has refused
-- that one, this one must wait: the process sends both again, in order.
-- `period` is the part of the expiry in which the process is: the expiry begins anew once in each.
-- room, serial, before, most entries, expiry in ms, period, new epoch, entry -> offset (0: appended before), epoch
local room, serial, before, most, expiry, period, new, entry = unpack(arg)
local meta, last = key('meta', room), key('serial', process)
local appended = tonumber(redis.call('GET', last) or '0')
if appended < tonumber(before) then
  return redis.error_reply('GAP an earlier message was refused')
end
local epoch, offset, renewed = unpack(redis.call('HMGET', meta, 'epoch', 'offset', 'renewed'))
epoch = epoch or epoch_of(room, new)
if appended >= tonumber(serial) then
  return { 0, epoch }
end
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
redis.call('SET', last, serial, 'PX', expiry)
return { offset, epoch }
