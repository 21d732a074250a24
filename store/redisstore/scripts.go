package redisstore

import (
	"context"
	"strconv"

	"github.com/redis/rueidis"
)

// A script runs on the server, on one key, as one step. Its SHA-1 is its name to EVALSHA and protects nothing; it is
// written down here because crypto/sha1 panics in a program that runs with GODEBUG=fips140=only. A script without lua
// stands for a plain command, which costs the server less.
type script struct{ sha1, lua, command string }

// What the scripts return, alone or before other values.
const (
	answerNotFound = 0
	answerDone     = 1
	answerConflict = 2
	answerExists   = 3
	answerRenew    = 4 // the index entry would expire before the record
)

// A record never outlives its entry in the index. The record contains the second at which the entry expires (the index
// time), and a write that needs a later one is refused. The caller then prolongs the entry and calls again with the new
// time. So the index misses no record, in whatever order calls arrive, and however late.
//
// The callers' index times move in steps (indexTime), so that most writes find the very bytes that they expect, the
// version and the index time, and compare nothing else. A caller that knows the server's time (clock) sends an absolute
// expiry, before the index time. One that doesn't passes the last second at which the index time is enough. It has ten
// digits, as the server's time has, and is compared as text. No binary text is compared by < or >: Lua does that by the
// server's locale. Numbers that a script passes on are written as text: converting them costs more.

// create makes a record that must not exist. Its arguments are those of SET: NX makes it fail if the key is taken.
var createCommand = script{command: "SET"}

// replace takes: the offset of the last byte of what the record has to begin with; that beginning; the new record; its
// expiry: "0" if it has expired, of a record with a principal a time of the server's clock, of others milliseconds
// left. If the caller doesn't know the server's clock, and of every tombstone, the expiry is milliseconds left too,
// and these follow: the last second for this index time; "1" for a tombstone, "0" for others; "1" if the index entry
// has been prolonged to the new index time. The answer to a live record then contains the server's time.
//
// A tombstone needs its entry for a short time only: the script returns what the record began with, and the caller
// releases the entry. The record is removed before a tombstone takes its place, since a server that has reached
// maxmemory lets a script store something only after it has removed something: a logout has to work there.
var replaceScript = script{sha1: "ba661f8e64c3f5b788b0cb2c71509085e7ae30d7",
	lua: `local key, call = KEYS[1], redis.call
local head, value = call('GETRANGE', key, '0', ARGV[1]), ARGV[3]
if head ~= ARGV[2] then
  if string.sub(head, 1, 9) ~= string.sub(ARGV[2], 1, 9) then
    local format = string.byte(head)
    if #head < 9 or format ~= 2 and format ~= 3 then return 0 end
    return 2
  end
  local old, new = struct.unpack('>I5', head, 10), struct.unpack('>I5', ARGV[2], 10)
  if old < new then
    if ARGV[7] ~= '1' then return 4 end
  elseif ARGV[6] ~= '1' then
    value = string.sub(value, 1, 9) .. string.sub(head, 10) .. string.sub(value, 15)
  end
end
if ARGV[4] == '0' then
  call('DEL', key)
  return 1
end
if not ARGV[5] then
  call('SET', key, value, ARGV[1] == '8' and 'PX' or 'PXAT', ARGV[4])
  return 1
end
local now = call('TIME')
if now[1] > ARGV[5] then return 4 end
if ARGV[6] == '1' then
  call('DEL', key)
  call('SET', key, value, 'PX', ARGV[4])
  return head
end
call('SET', key, value, 'PX', ARGV[4])
return {1, now[1], now[2]}`}

// batch replaces live records by tombstones, as replace does, where nothing else has to be done: no entry to be
// prolonged. It takes, for each key: format and version; the tombstone; milliseconds left; the last second for its
// index time. It returns for each key what the record began with, or "" if the caller has to call replace.
var batchScript = script{sha1: "8514f3072a5c7a56799fe1c83a693ae0b8b5c3a5",
	lua: `local call, now, all = redis.call, redis.call('TIME')[1], {1}
for i, key in ipairs(KEYS) do
  local head, value = call('GETRANGE', key, '0', '13'), ARGV[4 * i - 2]
  if string.sub(head, 1, 9) == ARGV[4 * i - 3] and now <= ARGV[4 * i] and
      struct.unpack('>I5', head, 10) >= struct.unpack('>I5', value, 10) then
    call('DEL', key)
    call('SET', key, value, 'PX', ARGV[4 * i - 1])
  else
    head = ''
  end
  all[i + 1] = head
end
return all`}

// touch takes: version; LastSeenAt and ExpiresAt as stored; milliseconds left or "0"; index time; the last second for
// that; "1" if the index entry has been prolonged to that index time. The answer renew comes with the record, without
// most of its data. PEXPIRE stands first for a server that has reached maxmemory: it stores nothing.
var touchScript = script{sha1: "8ba9ee014a4d04684bd76729d264b2347c2184d9",
	lua: `local key, call = KEYS[1], redis.call
local head = call('GETRANGE', key, '0', '13')
local format = string.byte(head)
if #head < 14 or format ~= 2 and format ~= 3 then return 0 end
if string.sub(head, 2, 9) ~= ARGV[1] then return 2 end
if ARGV[3] == '0' then
  call('DEL', key)
  return 1
end
local at, times = '9', ARGV[2]
if format == 3 then
  local old, new = struct.unpack('>I5', head, 10), struct.unpack('>I5', ARGV[4])
  if old < new and ARGV[6] ~= '1' or call('TIME')[1] > ARGV[5] then
    return {4, call('GETRANGE', key, '0', '1399')}
  end
  if old < new then
    times = ARGV[4] .. times
  else
    at = '14'
  end
end
call('PEXPIRE', key, ARGV[3])
call('SETRANGE', key, at, times)
return 1`}

// delete takes nothing, and returns the record, without most of its data, if it has an index entry. It removes whatever
// is there, also a value that is no record (pcall: or no string).
var deleteScript = script{sha1: "866cc04b4cab4c664f810dd56afb342b8e5b8fd1",
	lua: `local head = redis.pcall('GETRANGE', KEYS[1], '0', '1399')
redis.call('DEL', KEYS[1])
if type(head) == 'string' and string.byte(head) == 3 then return head end
return 1`}

// confirm returns the value, after a write that changes nothing but goes to the replicas, so that WAIT waits for it. It
// is one that a server at its maxmemory accepts.
var confirmScript = script{sha1: "e402c6e8948d21decbfc31ee85aa30fec368712a",
	lua: `local left = redis.call('PTTL', KEYS[1])
if left > 0 then redis.call('PEXPIRE', KEYS[1], left) end
return redis.call('GET', KEYS[1])`}

// The index of a principal is a sorted set of the keys of its records, by their index times. It expires with the last.

// tidy removes entries that have expired, at most 100.
const tidy = `  local over = call('ZRANGEBYSCORE', key, '-inf', call('TIME')[1], 'LIMIT', 0, 100)
  if #over > 0 then call('ZREM', key, unpack(over)) end
`

// keep takes a record's key and an index time; "1" if the index is to be tidied; and, if the caller doesn't know the
// server's time, the seconds for which the entry is needed at least. It makes the entry, or prolongs it, and returns
// the entry's index time, followed by the server's time, in seconds and microseconds, for who doesn't know it. The
// index time is another one each time, so that release finds out about it. The answer is one text: an array costs the
// server more.
var keepScript = script{sha1: "ffd48b0a6bf0a23a5fa057b37c4d9c0ff42eb97b",
	lua: `local key, call, ends, told = KEYS[1], redis.call, ARGV[2], ''
if ARGV[4] then
  local now = call('TIME')
  if now[1] + ARGV[4] > tonumber(ends) then ends = string.format('%.0f', now[1] + ARGV[4]) end
  told = ' ' .. now[1] .. ' ' .. now[2]
end
if call('ZADD', key, 'NX', ends, ARGV[1]) == 0 and call('ZADD', key, 'GT', 'CH', ends, ARGV[1]) == 0 then
  ends = call('ZINCRBY', key, '1', ARGV[1])
end
if ARGV[3] == '1' then
` + tidy + `end
if call('ZREVRANK', key, ARGV[1]) == 0 then call('PEXPIREAT', key, ends .. '000') end
return ends .. told`}

// release takes keys of records, each with the index time that it had and a sooner one, or "0" for none. It leaves
// alone an entry that has been prolonged meanwhile.
var releaseScript = script{sha1: "9b688d0b4168a6c0e72782cf19694cb57d1fa685",
	lua: `local key, call = KEYS[1], redis.call
for i = 1, #ARGV, 3 do
  if call('ZSCORE', key, ARGV[i]) == ARGV[i + 1] then
    if ARGV[i + 2] == '0' then
      call('ZREM', key, ARGV[i])
    else
      call('ZADD', key, ARGV[i + 2], ARGV[i])
    end
  end
end
do
` + tidy + `end
local last = call('ZREVRANGE', key, '0', '0', 'WITHSCORES')
if last[2] then call('PEXPIREAT', key, last[2] .. '000') end
return 1`}

// run runs a script on a key, and waits for replicas if the Store does.
func (s *Store) run(ctx context.Context, sc *script, key string, args ...string) (answer, error) {
	return s.runAll(ctx, sc, []string{key}, args)
}

// runAll runs a script on keys of one slot.
func (s *Store) runAll(ctx context.Context, sc *script, keys, args []string) (answer, error) {
	if s.replicas > 0 {
		return s.runAndWait(ctx, sc, keys, args)
	}
	return s.runOnce(ctx, sc, keys, args)
}

// runOnce sends a script once. It is sent again only to another node of a cluster, where the first one has said that
// it did nothing (MOVED, ASK), and as a text where the server has said that it does not know the name (NOSCRIPT).
func (s *Store) runOnce(ctx context.Context, sc *script, keys, args []string) (answer, error) {
	res := s.do(ctx, sc.evalsha(s.client.B(), keys, args))
	if noScript(res) {
		res = s.do(ctx, sc.eval(s.client.B(), keys, args))
	}
	return parse(res)
}

func (sc *script) evalsha(b rueidis.Builder, keys, args []string) rueidis.Completed {
	if sc.command != "" {
		return sc.eval(b, keys, args)
	}
	return b.Evalsha().Sha1(sc.sha1).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()
}

func (sc *script) eval(b rueidis.Builder, keys, args []string) rueidis.Completed {
	if sc.command != "" {
		return b.Arbitrary(sc.command).Keys(keys...).Args(args...).Build()
	}
	return b.Eval().Script(sc.lua).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()
}

func noScript(res rueidis.RedisResult) bool {
	err, ok := rueidis.IsRedisErr(res.Error())
	return ok && err.IsNoScript()
}

// An answer of a script: a code and what it tells. A script that answers with a text alone is done.
type answer struct {
	code int64
	more []rueidis.RedisMessage
}

func parse(res rueidis.RedisResult) (answer, error) {
	msg, err := res.ToMessage()
	if err != nil {
		return answer{}, err
	}
	switch {
	case msg.IsInt64():
		code, err := msg.AsInt64()
		return answer{code: code}, err
	case msg.IsString():
		return answer{answerDone, []rueidis.RedisMessage{msg}}, nil
	}
	values, err := msg.ToArray()
	if err != nil {
		return answer{}, err
	}
	if len(values) == 0 {
		return answer{}, errUnexpected
	}
	code, err := values[0].AsInt64()
	return answer{code, values[1:]}, err
}

// text returns the nth thing that the answer tells, "" if it is missing.
func (a answer) text(n int) string {
	if n >= len(a.more) {
		return ""
	}
	text, _ := a.more[n].ToString()
	return text
}

// milliseconds and flag return arguments as the scripts expect them.
func milliseconds(n int64) string { return strconv.FormatInt(max(n, 0), 10) }

func flag(set bool) string {
	if set {
		return "1"
	}
	return "0"
}
