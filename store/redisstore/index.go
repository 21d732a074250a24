package redisstore

import (
	"context"
	"hash/crc32"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// entry is what keep has made: when an entry expires, in seconds, and the server's time then, in milliseconds.
type entry struct{ ends, now int64 }

const (
	// slack is how many seconds longer than its record an entry lasts at least: clocks of an application and of the
	// server, and of a cluster's servers, may differ so far, and calls may arrive so late, before that costs round
	// trips.
	slack = 60
	// An index time moves in steps of 2 to the power of these, in seconds: a minute to a day and a half.
	leastStep, mostStep = 6, 17
	// tidyEach is how many calls of keep there are to one that removes expired entries, at most 100 of them.
	tidyEach = 8
	// never is a second that does not come before the year 2286.
	never = "9999999999"
)

// indexTime returns when the index entry of a record should expire that has so many milliseconds left. It moves in
// steps, so that an entry is prolonged seldom: a step is a half to the whole of what the record has left. Each key has
// its own times for them, so that not all sessions prolong their entries at once. Shorter steps divide longer ones, so
// that the index time of a record that is not given more life does not move to later.
func indexTime(key string, left int64) int64 {
	step := int64(1) << min(max(bits.Len64(uint64(seconds(left)))-1, leastStep), mostStep)
	offset := int64(crc32.ChecksumIEEE([]byte(key))) % step
	ends := seconds(time.Now().UnixMilli()+left) + slack
	return (ends-offset)/step*step + step + offset
}

// lastSecond returns the last second of the server's clock at which a record may still be given so many milliseconds,
// if its entry expires at index. It has ten digits.
func lastSecond(index, left int64) string {
	return strconv.FormatInt(min(max(index-seconds(left)-1, 1_000_000_000), 9_999_999_999), 10)
}

// seconds rounds up.
func seconds(milliseconds int64) int64 { return (max(milliseconds, 0) + 999) / 1000 }

// keep makes or prolongs a record's entry in its principal's index.
func (s *Store) keep(ctx context.Context, principal, key string, left int64) (e entry, err error) {
	ends, began := indexTime(key, left), time.Now()
	args := []string{key, strconv.FormatInt(ends, 10)}
	tidy := s.keeps.Add(1)%tidyEach == 0
	now, known := s.clock.now(began)
	if known = known && seconds(now+left)+slack <= ends; !known {
		args = append(args, flag(tidy), strconv.FormatInt(seconds(left)+slack, 10))
	} else if tidy {
		args = append(args, flag(tidy))
	}
	a, err := s.run(ctx, &keepScript, s.indexKey(principal), args...)
	if err != nil {
		return e, err
	}
	text, told, _ := strings.Cut(a.text(0), " ")
	if e.ends, err = strconv.ParseInt(text, 10, 64); err != nil {
		return entry{}, errUnexpected
	}
	if known {
		e.now = now
		return e, nil
	}
	sec, micros, _ := strings.Cut(told, " ")
	server, err := s.clock.read(began, sec, micros)
	if err != nil {
		return entry{}, err
	}
	e.now = server.UnixMilli()
	return e, nil
}

// released says that the entry of a record, which expires at before, is needed until after, or no more if that is 0.
type released struct {
	key           string
	before, after int64
}

// release lets entries of a principal expire sooner that have not been prolonged meanwhile. Nothing depends on it: an
// entry that stays expires at the time that it had.
func (s *Store) release(ctx context.Context, principal string, all ...released) error {
	args := make([]string, 0, 3*len(all))
	for _, r := range all {
		args = append(args, r.key, strconv.FormatInt(r.before, 10), strconv.FormatInt(r.after, 10))
	}
	_, err := s.runOnce(ctx, &releaseScript, []string{s.indexKey(principal)}, args)
	return err
}
