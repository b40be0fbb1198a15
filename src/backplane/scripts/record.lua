-- Sets an entry in the hash of bans, mutes and registered names, or its tombstone.
-- serial, before, expiry in ms, key, value -> 1 (0: set before)
local serial, before, expiry, name, value = unpack(arg)
local reply = reply_early(serial, before)
if reply then
  return reply
end
redis.call('HSET', key('access'), name, value)
redis.call('PUBLISH', ARGV[2] .. '@access', 'chinwag changed')
record_executed(serial, expiry)
return 1
