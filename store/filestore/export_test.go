package filestore

// Looks returns how many files Sweep has looked at since Open, besides the queue.
func (s *Store) Looks() int { return int(s.sweep.looks.Load()) }

// WalkFrom makes the next Sweep walk through the shard of key.
func (s *Store) WalkFrom(key string) {
	n := nameOf(key)
	for i := range shards {
		if shardName(i) == string(n[:2]) {
			s.sweep.walk, s.sweep.walked = i, 0
		}
	}
}

// WalkFromPrincipal makes the next Sweep walk through the shard of a principal's entries.
func (s *Store) WalkFromPrincipal(principal string) {
	t, _ := tagOf(principal)
	for i := range shards {
		if shardName(i) == string(t[:2]) {
			s.sweep.walk, s.sweep.walked = i, 0
		}
	}
}

// PathOf returns the path of a record's file in the folder.
func PathOf(key string) string { return nameOf(key).path() }

// EntryOf returns the path of the second link to a record's file.
func EntryOf(principal, key string) string {
	t, _ := tagOf(principal)
	return t.entry(nameOf(key))
}

const (
	Shards     = shards
	SlotSize   = slotSize
	QueueDir   = queueDir
	SpanMillis = 1 << spanBits
)
