package redisstore

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/store"
)

// A record comes back as it was given, whether its IDs are base64url, nearly so, or something else. Cut anywhere before
// its data it is none.
func TestPack(t *testing.T) {
	t.Parallel()
	ids := []string{"", "A", "AAAA", "AAA\nA", "AAAA\r\n", "AAAAAB", "AAAAAA", "!", strings.Repeat("_", store.MaxKey),
		strings.Repeat("~", store.MaxKey)}
	for i, id := range ids {
		rec := store.Record{
			Key: "key", Version: 1 << 62, Principal: strings.Repeat("ä", i), Label: "label", Handle: id,
			MovedTo: ids[len(ids)-1-i], Public: []byte("{}"), Data: []byte("data"), Kind: store.Renewed,
			CreatedAt: time.UnixMilli(-62135596800000), LastSeenAt: time.UnixMilli(-1),
			ExpiresAt: time.UnixMilli(1 << 50),
		}
		packed := pack(&rec, 1<<39+5)
		got, ok := unpack("key", []byte(packed))
		if !ok || !reflect.DeepEqual(got, rec) {
			t.Errorf("%q: got %+v, want %+v", id, got, rec)
		}
		if index := indexOf([]byte(packed)); rec.Principal != "" && index != 1<<39+5 {
			t.Errorf("%q: got index time %d", id, index)
		}
		for n := range len(packed) - len(rec.Data) {
			if _, ok := unpack("key", []byte(packed[:n])); ok {
				t.Errorf("%q: the first %d of %d bytes are a record", id, n, len(packed))
			}
		}
	}
}
