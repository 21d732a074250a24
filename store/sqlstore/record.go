package sqlstore

import (
	"fmt"
	"time"

	"github.com/hipflask/session/store"
)

// columns are those of a record without key and data, in the order of scanRecord; deadline and data are apart.
var columns = []string{
	"version", "principal", "label", "created_at", "last_seen_at", "expires_at", "kind", "moved_to", "handle",
}

// values are the arguments for columns, data and the time left, in this order. What is too long is refused here, and
// not cut off by a server whose mode allows that.
func (s *Store) values(rec *store.Record) ([]any, error) {
	for _, text := range []struct {
		name   string
		length int
		most   int
	}{
		{"Key", len(rec.Key), store.MaxKey}, {"MovedTo", len(rec.MovedTo), store.MaxKey}, {"Handle", len(rec.Handle), store.MaxKey},
		{"Principal", len(rec.Principal), store.MaxPrincipal}, {"Label", len(rec.Label), store.MaxLabel},
	} {
		if text.length > text.most {
			return nil, fmt.Errorf("%s: %s has %d bytes, at most %d are allowed", s.client.name, text.name, text.length, text.most)
		}
	}
	data := rec.Data
	if data == nil {
		data = []byte{} // nil would be NULL
	}
	return []any{
		int64(rec.Version), rec.Principal, rec.Label,
		rec.CreatedAt.UnixMilli(), rec.LastSeenAt.UnixMilli(), rec.ExpiresAt.UnixMilli(),
		int64(rec.Kind), rec.MovedTo, rec.Handle, data, timeLeft(rec.ExpiresAt),
	}, nil
}

// timeLeft is the time until expires, in milliseconds: a [time.Duration] ends after 292 years.
func timeLeft(expires time.Time) int64 { return expires.UnixMilli() - time.Now().UnixMilli() }

// scanRecord scans the key and columns of a row.
func scanRecord(scan func(dest ...any) error) (store.Record, error) {
	var key, principal, label, movedTo, handle []byte
	var version, created, seen, expires, kind int64
	if err := scan(&key, &version, &principal, &label, &created, &seen, &expires, &kind, &movedTo, &handle); err != nil {
		return store.Record{}, ErrScan
	}
	return store.Record{
		Key: string(key), Version: uint64(version), Principal: string(principal), Label: string(label),
		CreatedAt: time.UnixMilli(created), LastSeenAt: time.UnixMilli(seen), ExpiresAt: time.UnixMilli(expires),
		Kind: store.Kind(kind), MovedTo: string(movedTo), Handle: string(handle),
	}, nil
}
