-- Sets the topic of a room, and publishes it.
-- room, topic, expiry in ms, new epoch, entry -> 1
local room, topic, expiry, new, entry = unpack(arg)
epoch_of(room, new)
redis.call('HSET', key('meta', room), 'topic', topic)
keep(room, expiry)
publish(room, '- -', '-', entry)
return 1
