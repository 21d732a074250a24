package redisstore

import (
	"context"
	"time"
)

// noIndexTime stands in records without a principal.
var noIndexTime = number(0)

// The index entry of a record is kept for longer than the record has to live, so that it is renewed seldom: by half of
// that, but at least a minute and at most a day. The margin is also how far the clocks of a cluster's servers may
// differ, and how soon a lost index heals: the next write to a record beyond its index time makes the entry anew.
const (
	leastMargin = time.Minute
	mostMargin  = 24 * time.Hour
)

func margin(left int64) int64 {
	return min(max(left/2, leastMargin.Milliseconds()), mostMargin.Milliseconds())
}

// keep makes or prolongs a record's entry in its principal's index, and returns the index time to be stored with it.
func (s *Store) keep(ctx context.Context, principal, key string, left int64) (indexed string, err error) {
	left = max(left, 0)
	a, err := s.run(ctx, &keepScript, s.indexKey(principal), key, milliseconds(left+margin(left)))
	if err == nil && len(a.text(0)) != len(noIndexTime) {
		err = errUnexpected
	}
	return a.text(0), err
}

// release lets a record's entry end at another time, or now, if it has not been kept again since then. Nothing depends
// on it: an entry that stays ends at the time that it had.
func (s *Store) release(ctx context.Context, principal, key, before, after string) {
	_, _ = s.runOnce(ctx, &releaseScript, s.indexKey(principal), []string{key, before, after})
}
