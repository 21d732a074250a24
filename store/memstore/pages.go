package memstore

// pageLen makes a page of entries fill the allocator's size class of 4096 bytes: 51 entries of 80 bytes and the 8 bytes
// that the runtime puts before an object with pointers.
const pageLen = 51

// pages is a growing array. Unlike a slice it never copies its items to grow: with many records that copy would be the
// longest time that a shard's lock is held.
type pages[T any] struct {
	pages []*[pageLen]T
	n     uint32
}

func (p *pages[T]) at(i uint32) *T { return &p.pages[i/pageLen][i%pageLen] }

// push appends a zero item and returns its index.
func (p *pages[T]) push() uint32 {
	i := p.n
	if int(i/pageLen) == len(p.pages) {
		p.pages = append(p.pages, new([pageLen]T))
	}
	p.n++
	return i
}

// pop removes the last item and returns it. The page stays for the next push.
func (p *pages[T]) pop() T {
	p.n--
	item := p.at(p.n)
	v := *item
	*item = *new(T)
	return v
}
