-- Renews the lease of a process.
-- lease in ms -> 1, or 0 if the lease has ended; then the number of processes, and those without a lease
local lease = arg[1]
if not is_alive(process) then
  return { 0 }
end
redis.call('PEXPIRE', key('lease', process), lease)
local reply = { 1, redis.call('SCARD', key('processes')) }
local processes = redis.call('SMEMBERS', key('processes'))
table.sort(processes)
for _, other in ipairs(processes) do
  if not is_alive(other) then
    reply[#reply + 1] = other
  end
end
return reply
