-- Sets an entry in the hash of bans, mutes and registered names, or its tombstone.
-- key, value -> 1
redis.call('HSET', key('access'), arg[1], arg[2])
redis.call('PUBLISH', ARGV[2] .. '@access', 'chinwag changed')
return 1
