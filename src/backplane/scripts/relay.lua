-- Publishes an entry that is not kept in a room, with the number of members.
-- room, entry -> members
local room, entry = unpack(arg)
local now = tonumber(redis.call('ZSCORE', key('rooms'), room)) or 0
publish(room, '- -', now, entry)
return now
