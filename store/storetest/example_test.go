package storetest_test

import (
	"path/filepath"
	"testing"

	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/filestore"
	"github.com/hipflask/session/store/storetest"
)

// The test of a store, whole. In its own package the two functions are called TestConformance and BenchmarkStore.
func ExampleRun() {
	// open opens the sessions in dir, again and again, as several servers on one machine would.
	open := func(dir string) func(testing.TB) store.Store {
		return func(tb testing.TB) store.Store {
			s, err := filestore.Open(dir, nil)
			if err != nil {
				tb.Fatal(err)
			}
			tb.Cleanup(func() { s.Close() })
			return s
		}
	}

	_ = func(t *testing.T) {
		t.Parallel()
		storetest.Run(t, open(filepath.Join(t.TempDir(), "sessions")))
	}

	_ = func(b *testing.B) {
		storetest.Bench(b, open(filepath.Join(b.TempDir(), "sessions")))
	}
}
