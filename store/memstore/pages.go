package memstore

// pageLen makes a page fill the allocator's size class of 4096 bytes: 51 entries of 80 bytes and the 8 bytes that the
// runtime puts before an object with pointers.
const pageLen = 51

// pages is a growing array of entries. Unlike a slice it never copies its items to grow: with many records that copy
// would be the longest time that a shard's lock is held.
type pages struct {
	pages []*[pageLen]entry
	n     uint32
}

func (p *pages) at(i uint32) *entry { return &p.pages[i/pageLen][i%pageLen] }

// push appends a zero entry and returns its index.
func (p *pages) push() uint32 {
	i := p.n
	if int(i/pageLen) == len(p.pages) {
		p.pages = append(p.pages, new([pageLen]entry))
	}
	p.n++
	return i
}
