package sqlstore

import (
	"fmt"
	"time"

	"github.com/hipflask/session/store"
)

// columns are those of a record without key and data, in the order of scanRecord; deadline and data are apart.
var columns = []string{
	"version", "principal", "label", "created_at", "last_seen_at", "expires_at", "kind", "moved_to", "handle", "public",
}

// values are the arguments for columns, data and the time left, in this order. What is too long is refused here, and
// not cut off by a server whose mode allows that.
func (s *Store) values(rec *store.Record) ([]any, error) {
	for _, text := range []struct {
		name   string
		length int
		most   int
	}{
		{"Key", len(rec.Key), store.MaxKey}, {"MovedTo", len(rec.MovedTo), store.MaxKey},
		{"Handle", len(rec.Handle), store.MaxKey},
		{"Principal", len(rec.Principal), store.MaxPrincipal}, {"Label", len(rec.Label), store.MaxLabel},
		{"Public", len(rec.Public), store.MaxPublic},
	} {
		if text.length > text.most {
			return nil, fmt.Errorf("%s: %s has %d bytes, at most %d are allowed", s.client.name, text.name,
				text.length, text.most)
		}
	}
	return []any{
		int64(rec.Version), rec.Principal, rec.Label,
		rec.CreatedAt.UnixMilli(), rec.LastSeenAt.UnixMilli(), rec.ExpiresAt.UnixMilli(),
		int64(rec.Kind), rec.MovedTo, rec.Handle, blob(rec.Public), blob(rec.Data), timeLeft(rec.ExpiresAt),
	}, nil
}

// blob returns b as an argument. nil would be NULL.
func blob(b []byte) any {
	if len(b) == 0 {
		return noBytes
	}
	return b
}

var noBytes any = []byte{} // made once: a slice in an interface is an allocation

// timeLeft is the time until expires, in milliseconds: a [time.Duration] ends after 292 years.
func timeLeft(expires time.Time) int64 { return expires.UnixMilli() - time.Now().UnixMilli() }

// scanRecord scans the key and columns of a row.
func scanRecord(scan func(dest ...any) error) (store.Record, error) {
	var row struct { // one allocation for all that scan points to
		key, principal, label, movedTo, handle, public []byte
		version, created, seen, expires, kind          int64
	}
	if err := scan(&row.key, &row.version, &row.principal, &row.label, &row.created, &row.seen, &row.expires, &row.kind,
		&row.movedTo, &row.handle, &row.public); err != nil {
		return store.Record{}, ErrScan
	}
	return store.Record{
		Key: string(row.key), Version: uint64(row.version), Principal: string(row.principal), Label: string(row.label),
		CreatedAt: time.UnixMilli(row.created), LastSeenAt: time.UnixMilli(row.seen),
		ExpiresAt: time.UnixMilli(row.expires),
		Kind:      store.Kind(row.kind), MovedTo: string(row.movedTo), Handle: string(row.handle), Public: row.public,
	}, nil
}
