package filestore

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/hipflask/session/store"
)

// A record's file begins with a page of two slots. Each holds the whole record; writes go to them in turn, so that one
// is whole at any time. Data that a slot has no room for lies behind the page, in an extent of the file.
const (
	pageSize = 4096 // a block of most file systems, and a page of memory: what reading any file costs at least
	slotSize = pageSize / 2
	maxData  = 1 << 30
)

// A slot, in little endian: a fixed part, the texts, and the data if there is room.
const (
	offMagic   = 0  // 4 bytes, also the version of the format
	offLen     = 4  // 4: length of the slot from the magic on
	offSum     = 8  // 8: checksum of everything but itself
	offSeq     = 16 // 8: sequence number; of two slots the one with the higher number is the newer
	offVersion = 24 // 8
	offCreated = 32 // 8: Unix milliseconds, as all times
	offSeen    = 40 // 8
	offExpires = 48 // 8
	offBorn    = 56 // 8: when the record was stored first
	offQueued  = 64 // 8: when Sweep will look at the record
	offAt      = 72 // 8: where the data is in the file, 0: behind the texts
	offDataSum = 80 // 8: checksum of the data, if it is elsewhere
	offDataLen = 88 // 4
	// 9: lengths of principal, label and Public, 2 bytes each; of key, MovedTo and handle, 1 byte each
	offLengths  = 92
	offKind     = 101 // 1
	offTexts    = 102 // the texts and Public, then the data
	offSeqEnd   = offSeq + 8
	slotMagic   = "hfs\x01"
	maxPosition = 1 << 40
)

var le = binary.LittleEndian

// A slot is a valid slot of a file. Its slices alias the page that it was read from.
type slot struct {
	raw   []byte
	index int // 0 or 1: which of the page's two

	seq, version                uint64
	seen, expires, born, queued int64
	key, principal, label       []byte
	movedTo, handle, public     []byte
	inline                      []byte // the data, unless it has an extent
	at                          int64
	dataLen                     int
}

// end returns where the slot's extent ends, or the page if it has none.
func (s *slot) end() int64 {
	if s.at == 0 {
		return pageSize
	}
	return s.at + int64(s.dataLen)
}

func (s *slot) expired(now int64) bool { return s.expires <= now }

// record returns what s says, without the data.
func (s *slot) record() store.Record {
	texts := string(s.raw[offTexts : len(s.raw)-len(s.inline)-len(s.public)]) // one allocation for the five
	cut := func(n int) string {
		t := texts[:n]
		texts = texts[n:]
		return t
	}
	rec := store.Record{
		Version:    s.version,
		CreatedAt:  timeAt(s.raw, offCreated),
		LastSeenAt: timeAt(s.raw, offSeen),
		ExpiresAt:  timeAt(s.raw, offExpires),
		Kind:       store.Kind(s.raw[offKind]),
	}
	rec.Key = cut(len(s.key))
	rec.Principal = cut(len(s.principal))
	rec.Label = cut(len(s.label))
	rec.MovedTo = cut(len(s.movedTo))
	rec.Handle = cut(len(s.handle))
	if len(s.public) > 0 {
		rec.Public = bytes.Clone(s.public)
	}
	return rec
}

func timeAt(b []byte, off int) time.Time {
	return time.UnixMilli(int64(le.Uint64(b[off:]))).UTC()
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is two CRCs with different polynomials. Together they are as strong as one CRC of 64 bits whose polynomial
// is the product (Chinese remainder theorem); but each is an instruction of the processor, which CRC-64 is not. A
// mixture of an old and a new slot, which a Load can see while a write is under way, passes once in 2^64.
func checksum(parts ...[]byte) uint64 {
	var a, b uint32
	for _, p := range parts {
		a = crc32.Update(a, castagnoli, p)
		b = crc32.Update(b, crc32.IEEETable, p)
	}
	return uint64(a)<<32 | uint64(b)
}

// An extent is data that lies behind the page.
type extent struct {
	at  int64
	sum uint64
}

// fits tells whether the data of rec has room in a slot.
func fits(rec *store.Record) bool {
	return offTexts+len(rec.Key)+len(rec.Principal)+len(rec.Label)+len(rec.MovedTo)+len(rec.Handle)+
		len(rec.Public)+len(rec.Data) <= slotSize
}

// encode writes a slot with rec to b, which has room for slotSize bytes, and returns it. The zero extent: data inline.
func encode(b []byte, rec *store.Record, seq uint64, born, queued int64, ext extent) []byte {
	b = b[:offTexts]
	copy(b, slotMagic)
	le.PutUint64(b[offVersion:], rec.Version)
	le.PutUint64(b[offCreated:], uint64(rec.CreatedAt.UnixMilli()))
	le.PutUint64(b[offSeen:], uint64(rec.LastSeenAt.UnixMilli()))
	le.PutUint64(b[offExpires:], uint64(rec.ExpiresAt.UnixMilli()))
	le.PutUint64(b[offBorn:], uint64(born))
	le.PutUint64(b[offQueued:], uint64(queued))
	le.PutUint64(b[offAt:], uint64(ext.at))
	le.PutUint64(b[offDataSum:], ext.sum)
	le.PutUint32(b[offDataLen:], uint32(len(rec.Data)))
	lengths := b[offLengths:]
	le.PutUint16(lengths, uint16(len(rec.Principal)))
	le.PutUint16(lengths[2:], uint16(len(rec.Label)))
	le.PutUint16(lengths[4:], uint16(len(rec.Public)))
	lengths[6], lengths[7], lengths[8] = byte(len(rec.Key)), byte(len(rec.MovedTo)), byte(len(rec.Handle))
	b[offKind] = byte(rec.Kind)
	b = append(b, rec.Key...)
	b = append(b, rec.Principal...)
	b = append(b, rec.Label...)
	b = append(b, rec.MovedTo...)
	b = append(b, rec.Handle...)
	b = append(b, rec.Public...)
	if ext.at == 0 {
		b = append(b, rec.Data...)
	}
	le.PutUint32(b[offLen:], uint32(len(b)))
	seal(b, seq)
	return b
}

// seal gives the slot in b its sequence number and its checksum.
func seal(b []byte, seq uint64) {
	le.PutUint64(b[offSeq:], seq)
	le.PutUint64(b[offSum:], checksum(b[:offSum], b[offSeq:]))
}

// state is what can be said of a slot's bytes.
type state int

const (
	empty state = iota // never written
	torn               // being written, or left half-written by a process that died, or no slot at all
	valid
)

// decode reads the slot in b, which is the slot's half of the page, or what there is of it before the file ends.
func decode(b []byte) (slot, state) {
	if len(b) < offTexts {
		return slot{}, emptyOrTorn(b)
	}
	n := le.Uint32(b[offLen:])
	if string(b[:offLen]) != slotMagic || n < offTexts || int64(n) > int64(len(b)) {
		return slot{}, emptyOrTorn(b)
	}
	b = b[:n:n]
	// Nobody but the folder's owner can make a checksum that fits; but what is computed from a length must not
	// overflow.
	if checksum(b[:offSum], b[offSeq:]) != le.Uint64(b[offSum:]) || le.Uint32(b[offDataLen:]) > maxData {
		return slot{}, torn
	}
	s := slot{
		raw:     b,
		seq:     le.Uint64(b[offSeq:]),
		version: le.Uint64(b[offVersion:]),
		seen:    int64(le.Uint64(b[offSeen:])),
		expires: int64(le.Uint64(b[offExpires:])),
		born:    int64(le.Uint64(b[offBorn:])),
		queued:  int64(le.Uint64(b[offQueued:])),
		at:      int64(le.Uint64(b[offAt:])),
		dataLen: int(le.Uint32(b[offDataLen:])),
	}
	rest, ok := b[offTexts:], true
	cut := func(n int) []byte {
		if n > len(rest) {
			ok = false
			return nil
		}
		t := rest[:n:n]
		rest = rest[n:]
		return t
	}
	lengths := b[offLengths:]
	s.key = cut(int(lengths[6]))
	s.principal = cut(int(le.Uint16(lengths)))
	s.label = cut(int(le.Uint16(lengths[2:])))
	s.movedTo = cut(int(lengths[7]))
	s.handle = cut(int(lengths[8]))
	s.public = cut(int(le.Uint16(lengths[4:])))
	if s.at == 0 {
		s.inline = cut(s.dataLen)
	}
	if !ok || len(rest) != 0 || s.at != 0 && (s.at < pageSize || s.at > maxPosition) {
		return slot{}, torn
	}
	return s, valid
}

// emptyOrTorn knows a slot that was never written by its head: a hole in the file, or its end.
func emptyOrTorn(b []byte) state {
	for _, c := range b[:min(len(b), offSeqEnd)] {
		if c != 0 {
			return torn
		}
	}
	return empty
}

// decodePage returns the newest valid slot of a page and, as the second one, the older if that is valid too. Each is
// nil where there is none. anyTorn tells whether something else than a valid or an empty slot is there.
func decodePage(page []byte, slots *[2]slot) (newest, older *slot, anyTorn bool) {
	for i := range slots {
		from, to := min(i*slotSize, len(page)), min((i+1)*slotSize, len(page))
		var st state
		slots[i], st = decode(page[from:to])
		slots[i].index = i
		switch {
		case st == torn:
			anyTorn = true
		case st != valid:
		case newest == nil || slots[i].seq > newest.seq:
			newest, older = &slots[i], newest
		default:
			older = &slots[i]
		}
	}
	return newest, older, anyTorn
}
