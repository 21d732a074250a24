package redisstore

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/store"
)

// Load implements [store.Store] with one GETEX. A value that is no record of this store counts as absent. With
// Options.Replicas it waits for them where a write may be on the master alone.
func (s *Store) Load(ctx context.Context, key string) (rec store.Record, err error) {
	if err := check(key); err != nil {
		return store.Record{}, err
	}
	defer func() { s.found(key, &rec) }()
	name := s.recordKey(key)
	if s.doubts != nil && s.doubts.any(s.slot(name)) {
		return s.loadConfirmed(ctx, key)
	}
	value, err := s.get(ctx, name).AsBytes()
	if err != nil {
		return store.Record{}, failed("load", err)
	}
	found, ok := unpack(key, value)
	if !ok {
		return store.Record{}, store.ErrNotFound
	}
	if s.doubts != nil && found.Kind != store.Live {
		return s.loadConfirmed(ctx, key)
	}
	return found, nil
}

// get reads a value by GETEX, which without options is a GET that replicas refuse: after a failover a client may still
// be connected to the old master, which was started again as a replica, and has other data or none. A master that can't
// write to its disk refuses it too, and is asked by GET.
func (s *Store) get(ctx context.Context, name string) (res rueidis.RedisResult) {
	for _, command := range [...]string{"GETEX", "GET"} {
		res = s.read(ctx, func() rueidis.RedisResult {
			return s.do(ctx, s.client.B().Arbitrary(command).Keys(name).Build())
		})
		if codeOf(res.Error()) != "MISCONF" {
			break
		}
	}
	return res
}

func (s *Store) loadConfirmed(ctx context.Context, key string) (store.Record, error) {
	value, err := s.confirm(ctx, s.recordKey(key))
	if err != nil {
		return store.Record{}, failed("load", err)
	}
	rec, ok := unpack(key, value)
	if !ok {
		return store.Record{}, store.ErrNotFound
	}
	return rec, nil
}

// Create implements [store.Store] with one SET, after a script for the index if the record has a principal.
func (s *Store) Create(ctx context.Context, rec store.Record) error {
	if err := checkRecord(&rec); err != nil {
		return err
	}
	return s.write(ctx, "create", func() (answer, error) {
		left := left(rec.ExpiresAt)
		if left <= 0 {
			_, err := s.get(ctx, s.recordKey(rec.Key)).AsBytes()
			if absent(err) {
				return answer{code: answerDone}, nil
			}
			return answer{code: answerExists}, err
		}
		index, option, expiry := int64(0), "PX", left
		if rec.Principal != "" {
			e, err := s.keep(ctx, rec.Principal, rec.Key, left)
			if err != nil {
				return answer{}, err
			}
			// An absolute time: however late the command arrives, the record does not outlive its entry.
			index, option, expiry = e.ends, "PXAT", e.now+left
		}
		value := pack(&rec, index)
		a, err := s.run(ctx, &createCommand, s.recordKey(rec.Key), value, "NX", option, milliseconds(expiry))
		if rueidis.IsRedisNil(err) {
			return answer{code: answerExists}, nil
		}
		return a, err
	})
}

// Replace implements [store.Store] with one script. Now and then, when the record would outlive its index entry, two
// more round trips prolong that; a tombstone takes one more, to release it.
func (s *Store) Replace(ctx context.Context, rec store.Record, version uint64) error {
	if err := checkRecord(&rec); err != nil {
		return err
	}
	defer s.changed(rec.Key)
	r, err := s.replace(ctx, &rec, version)
	if r != (released{}) {
		_ = s.release(ctx, rec.Principal, r)
	}
	return err
}

// replace returns what the caller may release.
func (s *Store) replace(ctx context.Context, rec *store.Record, version uint64) (r released, err error) {
	user, tombstone := rec.Principal != "", rec.Kind != store.Live
	var kept entry
	err = s.write(ctx, "replace", func() (answer, error) {
		left, index := left(rec.ExpiresAt), kept.ends
		began := time.Now() // after left: a goroutine that pauses here makes no life shorter
		if user && index == 0 {
			index = indexTime(rec.Key, left)
		}
		head := rueidis.BinaryString(begin(nil, user, version, index))
		args := []string{strconv.Itoa(len(head) - 1), head, pack(rec, index), milliseconds(left)}
		now, known := s.clock.now(began)
		switch { // the usual case has few arguments: each costs the server something
		case user && (tombstone || kept.ends > 0):
			args = append(args, lastSecond(index, left), flag(tombstone), flag(kept.ends > 0))
		case user && left > 0 && known && (now+left)/1000 < index:
			args[3] = milliseconds(now + left)
		case user:
			args = append(args, lastSecond(index, left))
		case tombstone:
			args = append(args, never, flag(true))
		}
		a, err := s.run(ctx, &replaceScript, s.recordKey(rec.Key), args...)
		if err != nil {
			return a, err
		}
		switch before := indexOf([]byte(a.text(0))); {
		case a.code == answerRenew:
			kept, err = s.keep(ctx, rec.Principal, rec.Key, left)
		case user && before > index:
			r = released{rec.Key, before, index}
		case len(a.more) == 2:
			_, err = s.clock.read(began, a.text(0), a.text(1))
		}
		return a, err
	})
	return r, err
}

// ReplaceBatch implements [store.BatchReplacer]. Of tombstones one script replaces up to 64 that are in one slot of a
// cluster, and another one releases the index entries of a principal.
func (s *Store) ReplaceBatch(ctx context.Context, recs []store.Record, versions []uint64) ([]bool, error) {
	var slots [][]int // records that one script replaces
	last := map[int]int{}
	for i := range recs {
		if err := checkRecord(&recs[i]); err != nil {
			return nil, err
		}
		slot := s.slot(s.recordKey(recs[i].Key))
		n, known := last[slot]
		if !known || len(slots[n]) == batchSize {
			n = len(slots)
			last[slot], slots = n, append(slots, nil)
		}
		slots[n] = append(slots[n], i)
	}
	ends, errs := make([]released, len(recs)), make([]error, len(recs))
	defer func() {
		for i := range recs {
			s.changed(recs[i].Key)
		}
	}()
	var all sync.WaitGroup
	for _, some := range slots {
		all.Go(func() { s.replaceSome(ctx, recs, versions, some, ends, errs) })
	}
	all.Wait()
	principals := map[string][]released{}
	for i, r := range ends {
		if r != (released{}) {
			principals[recs[i].Principal] = append(principals[recs[i].Principal], r)
		}
	}
	for principal, ends := range principals {
		_ = s.release(ctx, principal, ends...)
	}
	replaced := make([]bool, len(recs))
	for i, err := range errs {
		replaced[i] = err == nil
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
			return nil, err
		}
	}
	return replaced, nil
}

// batchSize is how many records one script replaces at most: no other command is served meanwhile.
const batchSize = 64

// replaceSome replaces some of recs, those with these indices, which are in one slot.
func (s *Store) replaceSome(ctx context.Context, recs []store.Record, versions []uint64, some []int,
	ends []released, errs []error) {
	var tombs []int
	var keys, args []string
	for _, i := range some {
		rec := &recs[i]
		if left := left(rec.ExpiresAt); rec.Principal != "" && rec.Kind != store.Live && left > 0 {
			index := indexTime(rec.Key, left)
			ends[i] = released{key: rec.Key, after: index}
			tombs, keys = append(tombs, i), append(keys, s.recordKey(rec.Key))
			head := rueidis.BinaryString(begin(nil, true, versions[i], index)[:beforeTimes])
			args = append(args, head, pack(rec, index), milliseconds(left), lastSecond(index, left))
		}
	}
	var a answer
	if len(tombs) > 1 {
		var err error
		if a, err = s.runAll(ctx, &batchScript, keys, args); err != nil {
			for _, i := range some {
				errs[i] = failed("replace", err)
			}
			return
		}
	}
	done := map[int]bool{}
	for n, i := range tombs {
		before := indexOf([]byte(a.text(n)))
		done[i] = before > 0
		if ends[i].before = before; before <= ends[i].after {
			ends[i] = released{}
		}
	}
	for _, i := range some {
		if !done[i] {
			ends[i], errs[i] = s.replace(ctx, &recs[i], versions[i])
		}
	}
}

// Touch implements [store.Store] with one script, and now and then two more round trips, as Replace.
func (s *Store) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	if err := check(key); err != nil {
		return err
	}
	defer s.changed(key)
	head, times := begin(nil, false, version, 0), appendTime(appendTime(nil, seen), expires)
	var kept entry
	return s.write(ctx, "touch", func() (answer, error) {
		left, index := left(expires), kept.ends
		if index == 0 {
			index = indexTime(key, left)
		}
		a, err := s.run(ctx, &touchScript, s.recordKey(key), string(head[1:]), string(times), milliseconds(left),
			string(packIndex(index)), lastSecond(index, left), flag(kept.ends > 0))
		if err == nil && a.code == answerRenew {
			if rec, ok := unpack(key, []byte(a.text(0))); ok {
				kept, err = s.keep(ctx, rec.Principal, key, left)
			}
		}
		return a, err
	})
}

// Delete implements [store.Store] with one script, and another one for the index if the record had a principal.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(key); err != nil {
		return err
	}
	defer s.changed(key)
	return s.write(ctx, "delete", func() (answer, error) {
		a, err := s.run(ctx, &deleteScript, s.recordKey(key))
		if value := []byte(a.text(0)); err == nil {
			if rec, ok := unpack(key, value); ok {
				_ = s.release(ctx, rec.Principal, released{key, indexOf(value), 0})
			}
		}
		return a, err
	})
}

// write makes one attempt, and another one after the index entry was renewed. A third one would mean that the record's
// remaining life grew by more than the entry was given beyond it.
func (s *Store) write(ctx context.Context, op string, attempt func() (answer, error)) error {
	for range 3 {
		a, err := attempt()
		if err != nil {
			return failed(op, err)
		}
		switch a.code {
		case answerDone:
			return nil
		case answerNotFound:
			return store.ErrNotFound
		case answerConflict:
			return store.ErrConflict
		case answerExists:
			return store.ErrExists
		}
	}
	return failed(op, errors.New("the index entry ends before the record again and again: do the servers' "+
		"clocks differ?"))
}

// reads is how often a read is sent where connections break: a server that was restarted leaves several broken ones.
const reads = 3

// read sends a command that only reads, until it is answered. Such commands are not marked as reads to rueidis (they
// are built by Arbitrary), so that they go to the master, whatever the client was told about replicas, and so that
// rueidis doesn't send them again itself, for as long as the context lasts.
func (s *Store) read(ctx context.Context, send func() rueidis.RedisResult) (res rueidis.RedisResult) {
	for range reads {
		res = send()
		if err := res.NonRedisError(); err == nil || ctx.Err() != nil || errors.Is(err, rueidis.ErrClosing) {
			break
		}
	}
	return res
}
