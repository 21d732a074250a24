package storetest

import (
	"crypto/rand"
	"sync"
	"testing"
	"time"

	"github.com/hipflask/session/store"
)

// sizes is how many records BenchSize stores; with -short it makes do with a few.
const sizes, fewSizes = 100_000, 500

// BenchSize reports how many bytes a record takes in s, indexes included: B/session after 100,000 were created,
// B/changed-session after each was replaced three times. It also reports the calls per second of 8 goroutines
// (create/s, replace/s, load/s). A record has a key of 22 bytes and a handle of 16, as those of a session.Manager, and
// 200 bytes of data; every second one is logged in. size returns the bytes that all of s takes. s must be empty, and
// stays full, so BenchSize measures once, whatever b.N is.
func BenchSize(b *testing.B, s store.Store, size func() int64) {
	n := sizes
	if testing.Short() {
		n = fewSizes
	}
	recs := make([]store.Record, n)
	for i := range recs {
		recs[i] = newRecord()
		recs[i].Key, recs[i].Handle = rand.Text()[:22], rand.Text()[:16]
		recs[i].Public, recs[i].Data = nil, make([]byte, 200)
		if i%2 == 0 {
			recs[i].Principal = ""
		}
	}
	each := func(name string, call func(rec *store.Record) error) {
		began := time.Now()
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := w; i < n; i += workers {
					if err := call(&recs[i]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		b.ReportMetric(float64(n)/time.Since(began).Seconds(), name+"/s")
	}
	replace := func(rec *store.Record) error {
		next := changed(*rec)
		next.Public, next.Data = nil, rec.Data
		err := s.Replace(b.Context(), next, rec.Version)
		*rec = next
		return err
	}
	b.ReportMetric(0, "ns/op")
	each("create", func(rec *store.Record) error { return s.Create(b.Context(), *rec) })
	b.ReportMetric(float64(size())/float64(n), "B/session")
	for range 3 {
		each("replace", replace)
	}
	b.ReportMetric(float64(size())/float64(n), "B/changed-session")
	each("load", func(rec *store.Record) error {
		_, err := s.Load(b.Context(), rec.Key)
		return err
	})
}
