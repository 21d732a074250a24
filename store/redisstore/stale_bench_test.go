package redisstore_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/redisstore"
)

// serverCPU returns the time that the server's main thread has used.
func serverCPU(b *testing.B, client rueidis.Client) time.Duration {
	b.Helper()
	info, err := do(b, client, "INFO", "cpu").ToString()
	must(b, err)
	var total float64
	for line := range strings.Lines(info) {
		var seconds float64
		for _, name := range []string{"used_cpu_sys_main_thread", "used_cpu_user_main_thread"} {
			if _, err := fmt.Sscanf(line, name+":%f", &seconds); err == nil {
				total += seconds
			}
		}
	}
	return time.Duration(total * float64(time.Second))
}

// BenchmarkStale compares reads from memory with reads of the server, with the CPU of both sides for each: one read in
// flight or many, of 1,000 sessions that nobody changes, and of sessions that aren't in memory. The last one is how old
// a read is that another process has just made outdated.
func BenchmarkStale(b *testing.B) {
	server := servertest.Redis(b)
	client := raw(b, server.Addr)
	ctx := b.Context()
	cached := open(b, server.URL, &redisstore.Options{MaxStale: aMinute})
	missed := open(b, server.URL, &redisstore.Options{MaxStale: 1}) // never young enough
	plain := open(b, server.URL, nil)
	fill(b, func(n int) error { return plain.Create(ctx, typical(n, "")) })
	keys := make([]string, min(1000, sessions()))
	for n := range keys {
		keys[n] = fmt.Sprintf("%043d", n)
		_, err := cached.LoadStale(ctx, keys[n])
		must(b, err)
	}
	measured := func(name string, each func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			own, others := ownCPU(), serverCPU(b, client)
			each(b)
			b.ReportMetric(float64((ownCPU()-own).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
			b.ReportMetric(float64((serverCPU(b, client)-others).Nanoseconds())/1e3/float64(b.N), "server-us/op")
		})
	}
	for name, read := range map[string]func(n int) error{
		"server": func(n int) error { _, err := plain.Load(ctx, keys[n%len(keys)]); return err },
		"memory": func(n int) error { _, err := cached.LoadStale(ctx, keys[n%len(keys)]); return err },
		"missed": func(n int) error { _, err := missed.LoadStale(ctx, keys[n%len(keys)]); return err },
	} {
		measured("from="+name+"/inflight=1", func(b *testing.B) {
			for n := range b.N {
				must(b, read(n))
			}
		})
		measured(fmt.Sprintf("from=%s/inflight=%d", name, inFlight), func(b *testing.B) { parallel(b, read) })
	}
	rec := typical(0, "")
	b.Run("outdated", func(b *testing.B) {
		var ages []time.Duration
		for range b.N {
			_, err := cached.LoadStale(ctx, rec.Key)
			must(b, err)
			must(b, plain.Replace(ctx, next(rec), rec.Version))
			rec = next(rec)
			var now store.Record
			for answered := time.Now(); now.Version != rec.Version; {
				asked := time.Since(answered)
				now, err = cached.LoadStale(ctx, rec.Key)
				must(b, err)
				if now.Version == rec.Version {
					ages = append(ages, asked)
				} else {
					time.Sleep(20 * time.Microsecond) // a loop that never rests would keep the message from being read
				}
			}
		}
		slices.Sort(ages)
		b.ReportMetric(float64(ages[len(ages)/2].Nanoseconds())/1e3, "p50-us")
		b.ReportMetric(float64(ages[len(ages)*99/100].Nanoseconds())/1e3, "p99-us")
		b.ReportMetric(float64(ages[len(ages)-1].Nanoseconds())/1e3, "max-us")
	})
}
