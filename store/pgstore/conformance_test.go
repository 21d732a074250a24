package pgstore_test

import (
	"testing"

	"github.com/hipflask/session/store/storetest"
)

// Half of the Stores go through PgBouncer, on the same table.
func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, opener("conformance", server().URL, bouncer().URL))
}

func BenchmarkConformance(b *testing.B) { storetest.Bench(b, opener("benchmark", server().URL)) }
