-- Begins or renews the lease of a process, and reserves numbers for its guests.
-- If its lease has ended or `again` is 1, its claims are deleted, and it must register its clients. If it may not know yet that it
-- has lost a name, it must register them too, and keeps its other names meanwhile.
-- lease in ms, again, new mark of the dataset, guests to reserve
-- -> 1 if it must register, mark of the dataset, last reserved guest, then the rooms in which it has members
local lease, again, new, guests = unpack(arg)
local begins = again == '1' or not is_alive(process)
local must = begins or redis.call('EXISTS', key('lost', process)) == 1
-- All kinds of commands are tried here. One that is refused keeps the link down from the start, and not only when it is needed.
-- Keys that a refused attempt has left do no harm: each has one type, and the stream is deleted before. The first write is
-- one that needs memory, since Redis does not look for that later.
local hash, set, sorted, log = key('probe'), key('probe', 'set'), key('probe', 'sorted'), key('probe', 'stream')
redis.call('HSET', hash, 'a', 1)
redis.call('HSETNX', hash, 'b', 1)
redis.call('HMGET', hash, 'a', 'b')
redis.call('HGET', hash, 'a')
redis.call('HGETALL', hash)
redis.call('HDEL', hash, 'a', 'b')
redis.call('SADD', set, 'a')
redis.call('SRANDMEMBER', set, 1)
redis.call('SMEMBERS', set)
redis.call('SCARD', set)
redis.call('EXISTS', set)
redis.call('SREM', set, 'a')
redis.call('ZINCRBY', sorted, 1, 'a')
redis.call('ZSCORE', sorted, 'a')
redis.call('ZREVRANGE', sorted, 0, 0)
redis.call('ZCARD', sorted)
redis.call('ZREM', sorted, 'a')
redis.call('DEL', log)
redis.call('XADD', log, 'MAXLEN', 1, '1-1', 'e', '')
redis.call('XRANGE', log, '-', '+', 'COUNT', 1)
redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
redis.call('PEXPIRE', log, 1000)
redis.call('DEL', log)
redis.call('PUBLISH', ARGV[2] .. '@' .. process, 'chinwag probe -')
redis.call('SETNX', key('dataset'), new)
redis.call('SET', key('lease', process), session, 'PX', lease)
redis.call('SADD', key('processes'), process)
local reply = { must and 1 or 0, redis.call('GET', key('dataset')), redis.call('INCRBY', key('guests'), guests) }
if begins then
  free_names(process)
end
if must then
  redis.call('DEL', key('lost', process))
  local rooms = redis.call('SMEMBERS', key('rooms', process))
  table.sort(rooms)
  for _, room in ipairs(rooms) do
    reply[#reply + 1] = room
  end
end
return reply
