-- Publishes an entry in a room that is not kept, with the number of members.
-- room, entry -> members
local room, entry = unpack(arg)
local now = tonumber(redis.call('ZSCORE', key('rooms'), room)) or 0
publish(room, '- -', now, entry)
return now
