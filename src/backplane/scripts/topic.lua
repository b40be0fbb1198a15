-- Sets the topic of a room, and publishes it.
-- room, serial, before, topic, expiry in ms, new epoch, entry -> 1 (0: set before)
local room, serial, before, topic, expiry, new, entry = unpack(arg)
local reply = reply_early(serial, before)
if reply then
  return reply
end
epoch_of(room, new)
redis.call('HSET', key('meta', room), 'topic', topic)
keep(room, expiry)
publish(room, '- -', '-', entry)
record_executed(serial, expiry)
return 1
