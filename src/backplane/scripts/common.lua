-- The beginning of every script. ARGV[1] is the prefix of all keys, ARGV[2] that of all channels. Then come the process that
-- calls the script, and the number of its session; `arg` has the rest.
-- Numbers of processes are 16 hexadecimal digits. Entries are JSON, and a script never takes them apart.
local process, session, arg = ARGV[3], ARGV[4], {}
for index = 5, #ARGV do
  arg[index - 4] = ARGV[index]
end

local function key(kind, ...)
  return table.concat({ ARGV[1] .. '@' .. kind, ... }, ':')
end

-- Redis may execute the last commands of a broken connection after the `hello` of the next session. They must change nothing
-- then. `hello` puts the number of the session into the lease, and sessions ascend. Nobody reads this error, since the
-- connection is broken. Without a lease everything is executed: the next `hello` replaces claims and members.
if tonumber(redis.call('GET', key('lease', process)) or '0') > tonumber(session) then
  return redis.error_reply('STALE a later session of the process has begun')
end

-- Some commands of a process must be executed once and in order. `serial` is their ascending number, and `before` that of the last
-- one that the process has sent without a reply so far, or 0. If Redis has refused that one, this one must wait: the process sends
-- both again. Returns nil if the script is to go on.
local function reply_early(serial, before)
  local last = tonumber(redis.call('GET', key('serial', process)) or '0')
  if last >= tonumber(serial) then
    return 0
  end
  if last < tonumber(before) then
    return redis.error_reply('GAP an earlier command was refused')
  end
end

local function record_executed(serial, expiry)
  redis.call('SET', key('serial', process), serial, 'PX', expiry)
end

-- `position` is "OFFSET EPOCH", or "- -" for an entry that is not kept; `count` the members after the entry, or "-".
local function publish(room, position, count, entry)
  redis.call('PUBLISH', ARGV[2] .. room, 'chinwag ' .. position .. ' ' .. count .. ' ' .. entry)
end

-- Returns the epoch of a room. If the room has none, its epoch is `new`, its stream is deleted, and its numbers begin again.
local function epoch_of(room, new)
  local meta = key('meta', room)
  if redis.call('HSETNX', meta, 'epoch', new) == 1 then
    redis.call('DEL', key('stream', room))
    redis.call('HSET', meta, 'offset', 0, 'start', 0)
  end
  return redis.call('HGET', meta, 'epoch')
end

local function keep(room, millis)
  redis.call('PEXPIRE', key('meta', room), millis)
  redis.call('PEXPIRE', key('stream', room), millis)
end

local function is_alive(other)
  return redis.call('EXISTS', key('lease', other)) == 1
end

-- A member is `SERIAL "NAME"`, with the name as JSON.
local function joined(member)
  local serial, name = string.match(member, '^(%d+) (.*)$')
  return '{"joined":{"by":"' .. process .. '-' .. serial .. '","name":' .. name .. '}}'
end

local function left(by, member, reason)
  local serial, name = string.match(member, '^(%d+) (.*)$')
  local why = reason ~= '' and ',"reason":' .. reason or ''
  return '{"left":{"by":"' .. by .. '-' .. serial .. '","name":' .. name .. why .. '}}'
end

-- Changes the number of members of a room by `change`, and returns the new one. A script that was refused in its middle may
-- have left a wrong number, but none below zero.
local function count(room, change)
  local now = tonumber(redis.call('ZINCRBY', key('rooms'), change, room))
  if now <= 0 then
    redis.call('ZREM', key('rooms'), room)
    return 0
  end
  return now
end

-- Lists a room or a name that the process has, so that `bury` removes it. A late command of a dead process may come after
-- `bury`, and lists the process again.
local function list(kind, value)
  redis.call('SADD', key('processes'), process)
  redis.call('SADD', key(kind, process), value)
end

-- Deletes the claims of a process. Others may have been given the names since.
local function free_names(of)
  for _, name in ipairs(redis.call('SMEMBERS', key('names', of))) do
    local claim = redis.call('HGET', key('names'), name) or ''
    if string.find(claim, of .. ' ', 1, true) == 1 then
      redis.call('HDEL', key('names'), name)
    end
  end
  redis.call('DEL', key('names', of), key('lost', of))
end

-- Removes a room from the list of the process if the process has no members there.
local function unlist_if_empty(room)
  if redis.call('EXISTS', key('members', process, room)) == 0 then
    redis.call('SREM', key('rooms', process), room)
  end
end
