-- Appends an entry to a room's stream, and publishes it. The only script that appends.
-- `period` numbers the parts of the expiry. The first entry in each part renews the expiry.
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
-- accepts writes. An entry that the stream refuses must reach nobody, or each attempt would deliver it under another number. So
-- it is published last. Without the right to publish nothing may be kept: the script ends here then, with the error of Redis.
-- Redis has that check since version 7.
if redis.acl_check_cmd and not redis.acl_check_cmd('PUBLISH', ARGV[2] .. room, entry) then
  publish(room, '- -', '-', entry)
end
redis.call('HSET', meta, 'epoch', epoch)
offset = tonumber(offset or '0') + 1
redis.call('XADD', key('stream', room), 'MAXLEN', most, offset .. '-1', 'e', entry)
redis.call('HSET', meta, 'offset', offset)
record_executed(serial, expiry)
if renewed ~= period then
  keep(room, expiry)
  redis.call('HSET', meta, 'renewed', period)
end
publish(room, offset .. ' ' .. epoch, '-', entry)
return offset
