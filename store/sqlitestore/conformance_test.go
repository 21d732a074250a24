package sqlitestore_test

import (
	"testing"

	"github.com/hipflask/session/store/storetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, opener(t))
}

func BenchmarkConformance(b *testing.B) { storetest.Bench(b, opener(b)) }
