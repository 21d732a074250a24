package memstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hipflask/session/store"
)

// entry is a record as it is kept: 80 bytes, and one allocation without pointers for all texts, Public and the data.
// Most fields after them link it to other entries of the same shard, by their slots; slot 0 is never used, so that 0
// means none.
type entry struct {
	// packed is the key, a header, the other texts, Public and the data. "": the slot is free. It is a string because
	// it never changes: what Load returns can be cut out of it after the lock is released.
	packed  string
	version uint64
	seen    int64         // LastSeenAt, Unix milliseconds
	expires int64         // ExpiresAt as it was given; the deadline that counts is in shard.queue
	used    time.Duration // when the record was last written or loaded, since Store.start

	next         uint32 // in the chain of shard.keys, or of free slots
	place        uint32 // in shard.queue
	older, newer uint32 // neighbours in shard.lists[class]
	left, right  uint32 // neighbours in the chain of shard.principals

	kind   store.Kind
	class  class
	keyLen uint8
}

// header is what stands after the key in entry.packed. The lengths are those of the parts that follow, in this
// order; the data is the rest.
type header struct {
	handle, movedTo, principal, label, public int
	createdAt                                 int64 // Unix milliseconds
}

const headerLen = 1 + 1 + 4 + 8

// Three lengths share the four bytes of one number: two of 9 bits (at most 256) below one of at most 512.
const (
	lengthBits = 9
	lengthMask = 1<<lengthBits - 1
)

func (h header) append(b []byte) []byte {
	b = append(b, uint8(h.handle), uint8(h.movedTo)) // at most store.MaxKey
	b = binary.LittleEndian.AppendUint32(b, uint32(h.principal|h.label<<lengthBits|h.public<<(2*lengthBits)))
	return binary.LittleEndian.AppendUint64(b, uint64(h.createdAt))
}

// header returns the header and what follows it.
func (e *entry) header() (h header, rest string) {
	rest = e.packed[e.keyLen:]
	b := []byte(rest[:headerLen]) // does not escape: no allocation
	lengths := int(binary.LittleEndian.Uint32(b[2:]))
	h = header{
		handle:    int(b[0]),
		movedTo:   int(b[1]),
		principal: lengths & lengthMask,
		label:     lengths >> lengthBits & lengthMask,
		public:    lengths >> (2 * lengthBits),
		createdAt: int64(binary.LittleEndian.Uint64(b[6:])),
	}
	return h, rest[headerLen:]
}

// pack returns rec as an entry that shares no memory with it. rec is within the contract's limits.
func pack(rec *store.Record) entry {
	h := header{len(rec.Handle), len(rec.MovedTo), len(rec.Principal), len(rec.Label), len(rec.Public),
		rec.CreatedAt.UnixMilli()}
	var space [headerLen]byte
	var b strings.Builder
	b.Grow(contentLen(rec) + headerLen)
	b.WriteString(rec.Key)
	b.Write(h.append(space[:0]))
	b.WriteString(rec.Handle)
	b.WriteString(rec.MovedTo)
	b.WriteString(rec.Principal)
	b.WriteString(rec.Label)
	b.Write(rec.Public)
	b.Write(rec.Data)
	return entry{
		packed:  b.String(),
		version: rec.Version,
		seen:    rec.LastSeenAt.UnixMilli(),
		expires: rec.ExpiresAt.UnixMilli(),
		kind:    rec.Kind,
		class:   classOf(rec),
		keyLen:  uint8(len(rec.Key)),
	}
}

// unpack returns the record, with its data if that is wanted. The texts are still part of e.packed, Public and Data are
// a copy.
func (e *entry) unpack(wantData bool) (rec store.Record) {
	h, rest := e.header()
	cut := func(n int) string {
		text := rest[:n]
		rest = rest[n:]
		return text
	}
	rec.Key = e.key()
	rec.Handle = cut(h.handle)
	rec.MovedTo = cut(h.movedTo)
	rec.Principal = cut(h.principal)
	rec.Label = cut(h.label)
	rec.Version = e.version
	rec.Kind = e.kind
	rec.CreatedAt = time.UnixMilli(h.createdAt).UTC()
	rec.LastSeenAt = time.UnixMilli(e.seen).UTC()
	rec.ExpiresAt = time.UnixMilli(e.expires).UTC()
	if !wantData {
		rest = rest[:h.public]
	}
	if rest == "" {
		return rec
	}
	b := []byte(rest) // one allocation for both
	if h.public > 0 {
		rec.Public, b = b[:h.public:h.public], b[h.public:]
	}
	if len(b) > 0 {
		rec.Data = b
	}
	return rec
}

func (e *entry) key() string { return e.packed[:e.keyLen] }

func (e *entry) principal() string {
	h, rest := e.header()
	return rest[h.handle+h.movedTo:][:h.principal]
}

// cost is what the record counts against Options.MaxBytes.
func (e *entry) cost() int64 { return cost(len(e.packed) - headerLen) }

func cost(contentLen int) int64 { return int64(contentLen + recordCost) }

// contentLen returns the number of bytes of the texts, Public and the data.
func contentLen(rec *store.Record) int {
	return len(rec.Key) + len(rec.Handle) + len(rec.MovedTo) + len(rec.Principal) + len(rec.Label) +
		len(rec.Public) + len(rec.Data)
}

// check refuses texts over the contract's limits.
func check(rec *store.Record) error {
	if rec.Key == "" {
		return errors.New("memstore: record has no key")
	}
	for _, text := range [...]struct {
		name  string
		len   int
		limit int
	}{
		{"key", len(rec.Key), store.MaxKey},
		{"principal", len(rec.Principal), store.MaxPrincipal},
		{"label", len(rec.Label), store.MaxLabel},
		{"public part", len(rec.Public), store.MaxPublic},
		{"moved-to key", len(rec.MovedTo), store.MaxKey},
		{"handle", len(rec.Handle), store.MaxKey},
	} {
		if text.len > text.limit {
			return fmt.Errorf("memstore: record's %s has %d bytes, more than %d", text.name, text.len, text.limit)
		}
	}
	return nil
}
