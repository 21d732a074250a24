package redisstore

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/store"
)

// A record is one string, so that Redis keeps it in one piece of memory and a script finds the version at a fixed
// place:
//
//	offset  bytes
//	     0      1  format, 1
//	     1      8  version
//	     9      8  until when the index has an entry, in milliseconds of the server's clock; 0: it has none
//	    17      8  LastSeenAt, in milliseconds since 1970
//	    25      8  ExpiresAt
//	    33      8  CreatedAt
//	    41      1  kind
//	    42      2  bytes of the principal
//	    44      2  bytes of the label
//	    46      2  bytes of Public
//	    48      1  bytes of MovedTo
//	    49      1  bytes of the handle
//	    50         principal, label, MovedTo, handle, Public, data
//
// Numbers are big-endian. The scripts know the offsets up to 41, and that of the principal and its length.
const (
	format = 1

	offsetIndexed = 9
	offsetSeen    = 17
	offsetExpires = 25
	offsetCreated = 33
	offsetKind    = 41
	headerSize    = 50

	// withoutData is how many bytes hold every field but Data, at most.
	withoutData = headerSize + 2*store.MaxKey + store.MaxPrincipal + store.MaxLabel + store.MaxPublic
)

var be = binary.BigEndian

// pack returns rec as it is stored, in parts to be joined: what stands before the index time, that (none yet), and what
// stands behind it. Without a principal there is no index time, and all is in the first part: that spares the server
// the joining.
func pack(rec *store.Record) (head, indexed, rest string) {
	b := make([]byte, headerSize, headerSize+len(rec.Principal)+len(rec.Label)+len(rec.MovedTo)+len(rec.Handle)+
		len(rec.Public)+len(rec.Data))
	b[0] = format
	be.PutUint64(b[1:], rec.Version)
	putTime(b[offsetSeen:], rec.LastSeenAt)
	putTime(b[offsetExpires:], rec.ExpiresAt)
	putTime(b[offsetCreated:], rec.CreatedAt)
	b[offsetKind] = byte(rec.Kind)
	be.PutUint16(b[42:], uint16(len(rec.Principal)))
	be.PutUint16(b[44:], uint16(len(rec.Label)))
	be.PutUint16(b[46:], uint16(len(rec.Public)))
	b[48] = byte(len(rec.MovedTo))
	b[49] = byte(len(rec.Handle))
	b = append(b, rec.Principal...)
	b = append(b, rec.Label...)
	b = append(b, rec.MovedTo...)
	b = append(b, rec.Handle...)
	b = append(b, rec.Public...)
	b = append(b, rec.Data...)
	text := rueidis.BinaryString(b) // b is not changed any more
	if rec.Principal == "" {
		return text, "", ""
	}
	return text[:offsetIndexed], text[offsetIndexed:offsetSeen], text[offsetSeen:]
}

// unpack returns the record in b, which was stored under key. Its Public and Data are parts of b. It returns false if b
// is no record.
func unpack(key string, b []byte) (rec store.Record, ok bool) {
	if len(b) < headerSize || b[0] != format {
		return rec, false
	}
	lengths := [...]int{int(be.Uint16(b[42:])), int(be.Uint16(b[44:])), int(b[48]), int(b[49])}
	public := headerSize
	for _, n := range lengths {
		public += n
	}
	data := public + int(be.Uint16(b[46:]))
	if data > len(b) {
		return rec, false
	}
	texts := string(b[headerSize:public])
	next := func(n int) (text string) {
		text, texts = texts[:n], texts[n:]
		return text
	}
	return store.Record{
		Key:        key,
		Version:    be.Uint64(b[1:]),
		LastSeenAt: getTime(b[offsetSeen:]),
		ExpiresAt:  getTime(b[offsetExpires:]),
		CreatedAt:  getTime(b[offsetCreated:]),
		Kind:       store.Kind(b[offsetKind]),
		Principal:  next(lengths[0]),
		Label:      next(lengths[1]),
		MovedTo:    next(lengths[2]),
		Handle:     next(lengths[3]),
		Public:     b[public:data:data],
		Data:       b[data:],
	}, true
}

func putTime(b []byte, t time.Time) { be.PutUint64(b, uint64(t.UnixMilli())) }

func getTime(b []byte) time.Time { return time.UnixMilli(int64(be.Uint64(b))) }

// number returns n as the scripts find it in a record.
func number(n int64) string {
	var b [8]byte
	be.PutUint64(b[:], uint64(n))
	return string(b[:])
}

// versioned returns what a record of the version begins with.
func versioned(version uint64) string { return string(rune(format)) + number(int64(version)) }

// maxLeft is the longest life that is asked of Redis, which adds it to its clock: 30,000 years.
const maxLeft = int64(1e15)

// left returns how many milliseconds a record has until it expires, by the caller's clock; not positive: none.
func left(expires time.Time) int64 { return min(expires.UnixMilli()-time.Now().UnixMilli(), maxLeft) }

// check refuses keys that the contract rules out: they would end in other keys' patterns or in somebody's terminal.
func check(key string) error {
	if len(key) == 0 || len(key) > store.MaxKey {
		return fmt.Errorf("redisstore: a key has %d bytes, allowed are 1 to %d", len(key), store.MaxKey)
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return fmt.Errorf("redisstore: a key has bytes other than printable ASCII without spaces")
		}
	}
	return nil
}

// checkRecord refuses fields that are longer than the contract allows: the header has no room for their lengths.
func checkRecord(rec *store.Record) error {
	if err := check(rec.Key); err != nil {
		return err
	}
	for _, f := range []struct {
		field     string
		size, max int
	}{
		{"Principal", len(rec.Principal), store.MaxPrincipal},
		{"Label", len(rec.Label), store.MaxLabel},
		{"Public", len(rec.Public), store.MaxPublic},
		{"MovedTo", len(rec.MovedTo), store.MaxKey},
		{"Handle", len(rec.Handle), store.MaxKey},
		{"Data", len(rec.Data), maxData},
	} {
		if f.size > f.max {
			return fmt.Errorf("redisstore: a record's %s has %d bytes, allowed are %d", f.field, f.size, f.max)
		}
	}
	return nil
}

// maxData leaves room in the 512 MiB that Redis allows for one string (proto-max-bulk-len).
const maxData = 256 << 20
