package memstore

// table is a linear hash table (Litwin 1980). It gets a bucket more with each item, and splits one old bucket for it,
// so that no insertion ever has to rehash everything. A bucket is the slot of the first entry of a chain; which of an
// entry's fields links the chain is up to the shard, which tells by a chain function.
type table struct {
	buckets pages[uint32]
	mask    uint32 // the least 2^n-1 that covers all buckets
	n       uint32 // items
}

// chain returns the link to the next entry in the chain of the one in slot, and its hash.
type chain func(slot uint32) (next *uint32, hash uint32)

// head returns the first slot of the chain for hash; 0: the chain is empty.
func (t *table) head(hash uint32) uint32 {
	if t.n == 0 {
		return 0
	}
	return *t.bucket(hash)
}

func (t *table) bucket(hash uint32) *uint32 {
	i := hash & t.mask
	if i >= t.buckets.n {
		i &= t.mask >> 1
	}
	return t.buckets.at(i)
}

func (t *table) insert(slot uint32, chain chain) {
	if t.n++; t.n > t.buckets.n {
		t.split(chain)
	}
	next, hash := chain(slot)
	first := t.bucket(hash)
	*next, *first = *first, slot
}

// remove reports whether slot was in the table.
func (t *table) remove(slot uint32, chain chain) bool {
	after, hash := chain(slot)
	for link := t.bucket(hash); *link != 0; link, _ = chain(*link) {
		if *link == slot {
			*link = *after
			t.n--
			return true
		}
	}
	return false
}

// split appends a bucket and moves to it what belongs there from the one that held it so far. The first has none.
func (t *table) split(chain chain) {
	added := t.buckets.push()
	if added > t.mask {
		t.mask = t.mask<<1 | 1
	}
	from, to := t.buckets.at(added&(t.mask>>1)), t.buckets.at(added)
	slot := *from
	*from = 0
	for slot != 0 {
		next, hash := chain(slot)
		first := from
		if hash&t.mask == added {
			first = to
		}
		slot, *next, *first = *next, *first, slot
	}
}
