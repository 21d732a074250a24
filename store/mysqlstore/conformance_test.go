package mysqlstore_test

import (
	"testing"

	"github.com/hipflask/session/store/storetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, opener("conformance"))
}

func BenchmarkConformance(b *testing.B) { storetest.Bench(b, opener("benchmark")) }
