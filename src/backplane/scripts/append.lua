-- Appends an entry to a room's stream, unless the process has appended it before. The only way to say something.
-- room, serial, most entries, expiry in ms, new epoch, entry -> offset (0: appended before), epoch
local room, serial, most, expiry, new, entry = unpack(arg)
local meta = key('meta', room)
local epoch = epoch_of(room, new)
if tonumber(redis.call('HGET', meta, 's:' .. process) or '0') >= tonumber(serial) then
  return { 0, epoch }
end
-- Redis may refuse a command in the middle, and the process then sends the entry again. A first write finds out whether Redis
-- accepts writes. Without the right to publish nothing may be kept. If the stream is refused, the entry gets another offset
-- later, so the serial number is recorded last. Processes that have seen the entry before know its id.
redis.call('HSET', meta, 'epoch', epoch)
local offset = (tonumber(redis.call('HGET', meta, 'offset')) or 0) + 1
publish(room, offset .. ' ' .. epoch, '-', entry)
redis.call('HSET', meta, 'offset', offset)
redis.call('XADD', key('stream', room), 'MAXLEN', most, offset .. '-1', 'e', entry)
redis.call('HSET', meta, 's:' .. process, serial)
keep(room, expiry)
return { offset, epoch }
