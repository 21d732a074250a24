package filestore_test

import (
	"path/filepath"
	"testing"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
	"github.com/hipflask/session/store/storetest"
)

// opener returns a function that opens the sessions of one folder. (A test's own folder is open to others.)
func opener(tb testing.TB) func(testing.TB) store.Store {
	dir := filepath.Join(tb.TempDir(), "sessions")
	return func(tb testing.TB) store.Store {
		s, err := filestore.Open(dir, nil)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { s.Close() })
		return s
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, opener(t))
}

func BenchmarkConformance(b *testing.B) { storetest.Bench(b, opener(b)) }
