package memcachedstore

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/hipflask/session/store"
)

// A value is a head of fixed length, the texts and Public in the order of their lengths, and the data. Numbers are
// big-endian, times milliseconds since 1970.
//
//	0  magic       4 bytes
//	4  version     8
//	12 created     8
//	20 seen        8
//	28 expires     8
//	36 kind        1
//	37 lengths     1 of MovedTo, 1 of Handle, 2 of Principal, 2 of Label, 2 of Public
//	45 texts, Public, data
//
// The key is memcached's.
const (
	magic     = "HPF\x01" // what another application may have stored doesn't begin like this
	atVersion = 4
	atCreated = 12
	atSeen    = 20
	atExpires = 28
	atKind    = 36
	atLengths = 37
	headLen   = 45
)

// encode returns the value for rec, or an error for a record over the contract's limits.
func encode(rec *store.Record) ([]byte, error) {
	if rec.Key == "" {
		return nil, errKeyless
	}
	size := headLen + len(rec.Data)
	for _, text := range [...]struct {
		name         string
		bytes, limit int
	}{
		{"key", len(rec.Key), store.MaxKey},
		{"moved-to key", len(rec.MovedTo), store.MaxKey},
		{"handle", len(rec.Handle), store.MaxKey},
		{"principal", len(rec.Principal), store.MaxPrincipal},
		{"label", len(rec.Label), store.MaxLabel},
		{"public part", len(rec.Public), store.MaxPublic},
	} {
		if text.bytes > text.limit {
			return nil, fmt.Errorf("memcachedstore: the record's %s has %d bytes, at most %d", text.name,
				text.bytes, text.limit)
		}
		size += text.bytes
	}
	b := append(make([]byte, 0, size), magic...)
	b = binary.BigEndian.AppendUint64(b, rec.Version)
	for _, t := range [...]time.Time{rec.CreatedAt, rec.LastSeenAt, rec.ExpiresAt} {
		b = binary.BigEndian.AppendUint64(b, uint64(t.UnixMilli()))
	}
	b = append(b, byte(rec.Kind), byte(len(rec.MovedTo)), byte(len(rec.Handle)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(rec.Principal)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(rec.Label)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(rec.Public)))
	for _, text := range [...]string{rec.MovedTo, rec.Handle, rec.Principal, rec.Label} {
		b = append(b, text...)
	}
	b = append(b, rec.Public...)
	return append(b, rec.Data...), nil
}

// decode returns the record in a value, without its key, or false if the value is none. Public and Data are
// parts of value.
func decode(value []byte) (rec store.Record, ok bool) {
	if len(value) < headLen || string(value[:len(magic)]) != magic {
		return rec, false
	}
	rec.Version = binary.BigEndian.Uint64(value[atVersion:])
	rec.Kind = store.Kind(value[atKind])
	if rec.Version == 0 || rec.Version > math.MaxInt64 || rec.Kind > store.Ended {
		return rec, false
	}
	rec.CreatedAt, rec.LastSeenAt, rec.ExpiresAt = timeAt(value, atCreated), timeAt(value, atSeen),
		timeAt(value, atExpires)
	rest := value[headLen:]
	for _, text := range [...]struct {
		to    *string
		bytes int
		limit int
	}{
		{&rec.MovedTo, int(value[atLengths]), store.MaxKey},
		{&rec.Handle, int(value[atLengths+1]), store.MaxKey},
		{&rec.Principal, int(binary.BigEndian.Uint16(value[atLengths+2:])), store.MaxPrincipal},
		{&rec.Label, int(binary.BigEndian.Uint16(value[atLengths+4:])), store.MaxLabel},
	} {
		if text.bytes > text.limit || text.bytes > len(rest) {
			return store.Record{}, false
		}
		*text.to, rest = string(rest[:text.bytes]), rest[text.bytes:]
	}
	public := int(binary.BigEndian.Uint16(value[atLengths+6:]))
	if public > store.MaxPublic || public > len(rest) {
		return store.Record{}, false
	}
	rec.Public, rest = rest[:public:public], rest[public:]
	if len(rest) > 0 {
		rec.Data = rest[:len(rest):len(rest)]
	}
	return rec, true
}

func timeAt(value []byte, at int) time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(value[at:]))).UTC()
}

// putTimes changes the times of a value that can be decoded.
func putTimes(value []byte, seen, expires time.Time) {
	binary.BigEndian.PutUint64(value[atSeen:], uint64(seen.UnixMilli()))
	binary.BigEndian.PutUint64(value[atExpires:], uint64(expires.UnixMilli()))
}
