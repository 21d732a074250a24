package memstore

import (
	"fmt"
	"hash/maphash"
	"time"
)

// Bounds returns the greatest number of records and of their bytes.
func (s *Store) Bounds() (records, bytes int64) { return s.room.maxRecords, s.room.maxBytes }

// KeyHash returns a number that two keys share if they are in one chain of one shard.
func (s *Store) KeyHash(key string) uint64 { return maphash.String(s.seed, key) << 25 >> 25 }

// PrincipalHash returns a number that two principals share if their records in one shard are in one chain.
func (s *Store) PrincipalHash(principal string) uint64 { return uint64(s.shards[0].hash(principal)) }

// Check compares everything that a store knows about its records with the records. Nobody may use the store meanwhile.
func (s *Store) Check() error {
	var records, bytes, users, userBytes int64
	for i := range s.shards {
		sh := &s.shards[i]
		if err := sh.check(s, &bytes, &users, &userBytes); err != nil {
			return fmt.Errorf("shard %d: %w", i, err)
		}
		records += int64(len(sh.queue))
	}
	for _, c := range []struct {
		name      string
		got, want int64
	}{
		{"records", s.room.all.records.Load(), records},
		{"bytes", s.room.all.bytes.Load(), bytes},
		{"users' records", s.room.users.records.Load(), users},
		{"users' bytes", s.room.users.bytes.Load(), userBytes},
	} {
		if c.got != c.want {
			return fmt.Errorf("room counts %d %s, %d are there", c.got, c.name, c.want)
		}
	}
	if records > s.room.maxRecords || bytes > s.room.maxBytes {
		return fmt.Errorf("%d records of %d bytes are over the bounds", records, bytes)
	}
	return nil
}

func (sh *shard) check(s *Store, bytes, users, userBytes *int64) error {
	live := map[uint32]bool{}
	for slot := uint32(1); slot < sh.entries.n; slot++ {
		e := sh.entries.at(slot)
		if e.packed == "" {
			continue
		}
		live[slot] = true
		*bytes += e.cost()
		if e.principal() != "" {
			*users++
			*userBytes += e.cost()
		}
		if own, hash := s.locate(e.key()); own != sh || sh.find(hash, e.key()) != slot {
			return fmt.Errorf("slot %d is not found by its key", slot)
		}
		if slotOf(sh.queue[e.place]) != slot {
			return fmt.Errorf("slot %d is not at its place in the queue", slot)
		}
		if e.place > 0 && sh.queue[(e.place-1)/4] > sh.queue[e.place] {
			return fmt.Errorf("slot %d is before its parent in the queue", slot)
		}
	}
	chained := 0
	for _, slot := range sh.keys {
		for ; slot != 0; slot = sh.entries.at(slot).next {
			chained++
		}
	}
	if n := len(live); n != chained || n != len(sh.queue) {
		return fmt.Errorf("%d records, %d in the table, %d in the queue", n, chained, len(sh.queue))
	}
	free := 0
	for slot := sh.free; slot != 0; slot = sh.entries.at(slot).next {
		free++
	}
	if used := int(sh.entries.n); used > 0 && free+len(live)+1 != used {
		return fmt.Errorf("%d records and %d free slots of %d", len(live), free, sh.entries.n)
	}
	if err := sh.checkLists(len(live)); err != nil {
		return err
	}
	return sh.checkPrincipals()
}

func (sh *shard) checkLists(records int) error {
	due := int64(none)
	if len(sh.queue) > 0 {
		due = deadlineOf(sh.queue[0])
	}
	if sh.due.Load() != due {
		return fmt.Errorf("hint of the first deadline is wrong")
	}
	linked := 0
	for c := range sh.lists {
		before := uint32(0)
		used := time.Duration(none)
		for slot := sh.lists[c].oldest; slot != 0; slot = sh.entries.at(slot).newer {
			e := sh.entries.at(slot)
			if e.older != before || int(e.class) != c {
				return fmt.Errorf("slot %d is in the wrong place of list %d", slot, c)
			}
			if before == 0 {
				used = e.used
			}
			before = slot
			linked++
		}
		if sh.lists[c].newest != before {
			return fmt.Errorf("list %d does not end with its newest", c)
		}
		if time.Duration(sh.oldest[c].Load()) != used {
			return fmt.Errorf("hint of list %d is wrong", c)
		}
	}
	if linked != records {
		return fmt.Errorf("%d records in the lists, %d are there", linked, records)
	}
	return nil
}

func (sh *shard) checkPrincipals() error {
	related := 0
	for hash, slot := range sh.principals {
		for before := uint32(0); slot != 0; before, slot = slot, sh.entries.at(slot).right {
			if e := sh.entries.at(slot); e.left != before || sh.hash(e.principal()) != hash {
				return fmt.Errorf("slot %d is in the wrong place of its principal's chain", slot)
			}
			related++
		}
	}
	for slot := uint32(1); slot < sh.entries.n; slot++ {
		if e := sh.entries.at(slot); e.packed != "" && e.principal() != "" {
			related--
		}
	}
	if related != 0 {
		return fmt.Errorf("principals' chains have %d records too many", related)
	}
	return nil
}
