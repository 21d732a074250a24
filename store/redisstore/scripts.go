package redisstore

import (
	"context"
	"strconv"

	"github.com/redis/rueidis"
)

// A script runs on the server, on one key, as one step. Its SHA-1 is its name to EVALSHA and protects nothing; it is
// written down here because crypto/sha1 panics in a program that runs with GODEBUG=fips140=only.
type script struct{ sha1, lua string }

// What the scripts answer, alone or before what else they tell.
const (
	answerNotFound = 0
	answerDone     = 1
	answerConflict = 2
	answerExists   = 3
	answerRenew    = 4 // index time, principal: the index entry would end before the record
)

// The scripts that write a record see to it that it does not outlive its entry in the index. The record holds until
// when that is there (the index time, offset 9), and a write that needs more is refused. The caller renews the entry
// and calls again with the new time. So the index misses no record, in whatever order calls arrive, and however late.
//
// Index times are compared as text (8 bytes, big-endian), as versions are: Lua's numbers have 53 bits. Milliseconds
// fit.

// create takes: record up to the index time, index time, record behind it; milliseconds left or "0"; "1" if it has a
// principal.
var createScript = script{"b6b40eec0e74e48644b4fabca1542253ea17122c", `local key, call = KEYS[1], redis.call
if call('EXISTS', key) == 1 then return 3 end
if ARGV[4] == '0' then return 1 end
if ARGV[5] == '1' then
  local t = call('TIME')
  if t[1] * 1000 + t[2] / 1000 + ARGV[4] > struct.unpack('>I8', ARGV[2]) then return {4} end
end
call('SET', key, ARGV[1] .. ARGV[2] .. ARGV[3], 'PX', ARGV[4])
return 1`}

// replace takes: format and old version; record up to the index time, index time, record behind it; milliseconds left
// or "0"; "1" if it has a principal; "1" if it is a tombstone.
//
// A tombstone needs its entry for a short time only: the answer {1, old index time, new one} says what may be released.
// The record is removed before a tombstone takes its place, since a server that has reached maxmemory lets a script
// store something only after it has removed something: a logout has to work there.
var replaceScript = script{"7b3a3786e7b701f0993dda84cff7d382d354c65f", `local key, call = KEYS[1], redis.call
local head = call('GETRANGE', key, 0, 16)
if string.sub(head, 1, 9) ~= ARGV[1] then
  if #head < 17 or string.byte(head) ~= 1 then return 0 end
  return 2
end
if ARGV[5] == '0' then
  call('DEL', key)
  return 1
end
local answer, indexed = 1, ARGV[3]
if ARGV[6] == '1' then
  local before = string.sub(head, 10)
  if before > indexed then indexed = before end
  local t = call('TIME')
  local ends = t[1] * 1000 + t[2] / 1000 + ARGV[5]
  if ends > struct.unpack('>I8', indexed) then return {4} end
  if ARGV[7] == '1' then
    local short = struct.pack('>I8', math.floor(ends) + 60000)
    if short < indexed then
      answer = {1, indexed, short}
      indexed = short
    end
  end
end
if ARGV[7] == '1' then call('DEL', key) end
call('SET', key, ARGV[2] .. indexed .. ARGV[4], 'PX', ARGV[5])
return answer`}

// touch takes: format and version; LastSeenAt and ExpiresAt as stored; milliseconds left or "0"; index time. PEXPIRE
// stands first for a server that has reached maxmemory: it stores nothing.
var touchScript = script{"0b2e8233631105483ebbcd98bf2311d93df1c0a5", `local key, call = KEYS[1], redis.call
local head = call('GETRANGE', key, 0, 49)
if string.sub(head, 1, 9) ~= ARGV[1] then
  if #head < 50 or string.byte(head) ~= 1 then return 0 end
  return 2
end
if ARGV[3] == '0' then
  call('DEL', key)
  return 1
end
local indexed = string.sub(head, 10, 17)
if indexed ~= '\0\0\0\0\0\0\0\0' then
  if indexed < ARGV[4] then indexed = ARGV[4] end
  local t = call('TIME')
  if t[1] * 1000 + t[2] / 1000 + ARGV[3] > struct.unpack('>I8', indexed) then
    return {4, call('GETRANGE', key, 50, 49 + struct.unpack('>I2', head, 43))}
  end
end
call('PEXPIRE', key, ARGV[3])
call('SETRANGE', key, 9, indexed .. ARGV[2])
return 1`}

// delete takes nothing and answers {1, index time, principal} if the record has an entry. Whatever is there goes, also
// what is no record (pcall: nor a string).
var deleteScript = script{"edec532529adca08f627665c692c40ec5bfeff5a",
	`local head = redis.pcall('GETRANGE', KEYS[1], 0, 49)
local answer = 1
if type(head) == 'string' and #head == 50 and string.byte(head) == 1 then
  local principal = struct.unpack('>I2', head, 43)
  if principal > 0 then
    answer = {1, string.sub(head, 10, 17), redis.call('GETRANGE', KEYS[1], 50, 49 + principal)}
  end
end
redis.call('DEL', KEYS[1])
return answer`}

// confirm answers the value, after a write that changes nothing but goes to the replicas, so that WAIT waits for it. It
// is one that a server at its maxmemory accepts.
var confirmScript = script{"e402c6e8948d21decbfc31ee85aa30fec368712a", `local left = redis.call('PTTL', KEYS[1])
if left > 0 then redis.call('PEXPIRE', KEYS[1], left) end
return redis.call('GET', KEYS[1])`}

// The index of a principal is a sorted set of the keys of its records, by their index times. It expires with the last.

// tidy removes what has ended, a bounded number at a time, and lets the index expire with its last entry.
const tidy = `
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)
if #over > 0 then redis.call('ZREM', KEYS[1], unpack(over)) end
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if last[2] then redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', tonumber(last[2]))) end
`

// keep takes a record's key and for how many milliseconds its entry is needed. It makes the entry, or moves its end to
// later, and answers the index time. That is another one each time, so that release finds out about it.
var keepScript = script{"52f1a37e9679df369f48048741b9137a50d9477b", `local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local ends = now + tonumber(ARGV[2])
local before = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
if ends <= before then ends = before + 1 end
redis.call('ZADD', KEYS[1], string.format('%.0f', ends), ARGV[1])` + tidy + `return struct.pack('>I8', ends)`}

// release takes a record's key, the index time that it had, and a sooner one, or zero for none. It does nothing if the
// entry has been kept again meanwhile.
var releaseScript = script{"98fff7cb75aa25c6dc1e4817033ed6dadddc79a3", `local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local before = redis.call('ZSCORE', KEYS[1], ARGV[1])
if before and tonumber(before) == struct.unpack('>I8', ARGV[2]) then
  redis.call('ZADD', KEYS[1], string.format('%.0f', struct.unpack('>I8', ARGV[3])), ARGV[1])` + tidy + `end
return 1`}

// run runs a script on a key, and waits for replicas if the Store does.
func (s *Store) run(ctx context.Context, sc *script, key string, args ...string) (answer, error) {
	if s.replicas > 0 {
		return s.runAndWait(ctx, sc, key, args)
	}
	return s.runOnce(ctx, sc, key, args)
}

// runOnce sends a script once. It is sent again only to another node of a cluster, where the first one has said that
// it did nothing (MOVED, ASK), and as a text where the server has said that it does not know the name (NOSCRIPT).
func (s *Store) runOnce(ctx context.Context, sc *script, key string, args []string) (answer, error) {
	res := s.do(ctx, sc.evalsha(s.client.B(), key, args))
	if noScript(res) {
		res = s.do(ctx, sc.eval(s.client.B(), key, args))
	}
	return parse(res)
}

func (sc *script) evalsha(b rueidis.Builder, key string, args []string) rueidis.Completed {
	return b.Evalsha().Sha1(sc.sha1).Numkeys(1).Key(key).Arg(args...).Build()
}

func (sc *script) eval(b rueidis.Builder, key string, args []string) rueidis.Completed {
	return b.Eval().Script(sc.lua).Numkeys(1).Key(key).Arg(args...).Build()
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
