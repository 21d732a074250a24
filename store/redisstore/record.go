package redisstore

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/store"
)

// A record is one string, so that Redis keeps it in one piece of memory and a script finds the version at a fixed
// place:
//
//	bytes
//	    1  format: 2, or 3 of a record with a principal, which has an entry in the index
//	    8  version
//	    5  format 3 only: the index time, when the entry expires, in seconds of the server's clock
//	    7  LastSeenAt, in milliseconds since 1970
//	    7  ExpiresAt
//	    7  CreatedAt
//	    1  kind
//	       principal, label, MovedTo, handle and Public, each behind its length, a varint of encoding/binary
//	       data
//
// Numbers are big-endian. MovedTo and the handle are usually the base64url text of random bytes, and stored as those
// bytes; their length stands there times two, plus one in this case. The scripts know what stands before CreatedAt.
const (
	formatAnonymous = 2
	formatIndexed   = 3

	beforeTimes = 9 // in formatAnonymous
	indexSize   = 5
	timeSize    = 7

	// withoutData is how many bytes hold every field but Data, at most.
	withoutData = 1400
)

var (
	be       = binary.BigEndian
	base64id = base64.RawURLEncoding.Strict()
)

// begin returns what a record begins with: format, version and, if it has an index entry, index time.
func begin(b []byte, indexed bool, version uint64, index int64) []byte {
	if !indexed {
		return be.AppendUint64(append(b, formatAnonymous), version)
	}
	return append(be.AppendUint64(append(b, formatIndexed), version), packIndex(index)...)
}

// pack returns rec as it is stored.
func pack(rec *store.Record, index int64) string {
	const fixed = beforeTimes + indexSize + 3*timeSize + 1 + 5*binary.MaxVarintLen16
	texts := len(rec.Principal) + len(rec.Label) + len(rec.MovedTo) + len(rec.Handle)
	b := make([]byte, 0, fixed+texts+len(rec.Public)+len(rec.Data))
	b = begin(b, rec.Principal != "", rec.Version, index)
	b = appendTime(b, rec.LastSeenAt)
	b = appendTime(b, rec.ExpiresAt)
	b = appendTime(b, rec.CreatedAt)
	b = append(b, byte(rec.Kind))
	b = appendText(b, rec.Principal)
	b = appendText(b, rec.Label)
	b = appendID(b, rec.MovedTo)
	b = appendID(b, rec.Handle)
	b = appendText(b, rec.Public)
	b = append(b, rec.Data...)
	return rueidis.BinaryString(b) // b is not changed any more
}

func appendText[T string | []byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendID(b []byte, text string) []byte {
	var space [store.MaxKey]byte
	id, err := base64id.AppendDecode(space[:0], []byte(text))
	if err != nil || base64id.EncodedLen(len(id)) != len(text) { // the decoder skips line breaks
		return append(binary.AppendUvarint(b, uint64(len(text))<<1), text...)
	}
	return append(binary.AppendUvarint(b, uint64(len(id))<<1|1), id...)
}

// unpack returns the record in b, which was stored under key. Its Public and Data are parts of b. It returns false if b
// is no record.
func unpack(key string, b []byte) (rec store.Record, ok bool) {
	at := beforeTimes
	if len(b) > 0 && b[0] == formatIndexed {
		at += indexSize
	}
	if len(b) < at+3*timeSize+1 || b[0] != formatAnonymous && b[0] != formatIndexed {
		return rec, false
	}
	rec = store.Record{
		Key:        key,
		Version:    be.Uint64(b[1:]),
		LastSeenAt: getTime(b[at:]),
		ExpiresAt:  getTime(b[at+timeSize:]),
		CreatedAt:  getTime(b[at+2*timeSize:]),
		Kind:       store.Kind(b[at+3*timeSize]),
	}
	b = b[at+3*timeSize+1:]
	var space [256]byte
	var ends [4]int
	texts := space[:0] // of one string
	for i := range ends {
		size, n := binary.Uvarint(b)
		isID := i >= 2
		encoded := isID && size&1 == 1
		if isID {
			size >>= 1
		}
		if n <= 0 || size > uint64(len(b)-n) {
			return store.Record{}, false
		}
		if text := b[n : n+int(size)]; encoded {
			texts = base64id.AppendEncode(texts, text)
		} else {
			texts = append(texts, text...)
		}
		ends[i], b = len(texts), b[n+int(size):]
	}
	public, n := binary.Uvarint(b)
	if n <= 0 || public > uint64(len(b)-n) {
		return store.Record{}, false
	}
	b = b[n:]
	text := string(texts)
	rec.Principal, rec.Label = text[:ends[0]], text[ends[0]:ends[1]]
	rec.MovedTo, rec.Handle = text[ends[1]:ends[2]], text[ends[2]:]
	rec.Public, rec.Data = b[:public:public], b[public:]
	return rec, true
}

// indexOf returns the index time of a stored record, 0 if it has none.
func indexOf(b []byte) int64 {
	if len(b) < beforeTimes+indexSize || b[0] != formatIndexed {
		return 0
	}
	return int64(b[beforeTimes])<<32 | int64(be.Uint32(b[beforeTimes+1:]))
}

func packIndex(index int64) []byte { return be.AppendUint64(nil, uint64(index))[8-indexSize:] }

func appendTime(b []byte, t time.Time) []byte {
	ms := uint64(t.UnixMilli())
	return be.AppendUint32(append(b, byte(ms>>48), byte(ms>>40), byte(ms>>32)), uint32(ms))
}

func getTime(b []byte) time.Time {
	ms := uint64(b[0])<<48 | uint64(b[1])<<40 | uint64(b[2])<<32 | uint64(be.Uint32(b[3:]))
	return time.UnixMilli(int64(ms<<8) >> 8)
}

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
