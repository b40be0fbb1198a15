-- Publishes an entry that is not kept in a room, with the number of members.
-- room, entry
local room, entry = unpack(arg)
publish(room, '- -', tonumber(redis.call('ZSCORE', key('rooms'), room)) or 0, entry)
