package memcachedstore_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/hipflask/session/internal/servertest"
)

// BenchmarkSize measures what a session takes on the server: its item, and the pages that the server has taken for items.
//
//	go test -run '^$' -bench Size -benchtime 1x ./store/memcachedstore
func BenchmarkSize(b *testing.B) {
	n := 100_000
	if testing.Short() {
		n = 100
	}
	for _, data := range []int{200, 1000, 4000} {
		b.Run(fmt.Sprintf("sessions=%d/data=%d", n, data), func(b *testing.B) {
			server := servertest.Memcached(b, "-m", "2048")
			s := open(b, server.URL, nil)
			for b.Loop() {
				var writers sync.WaitGroup
				for w := range 16 {
					writers.Go(func() {
						for i := w; i < n; i += 16 {
							rec := newRecord(data)
							rec.Key += "-as-long-as-a-hash" // 43 characters, as package session's keys
							if err := s.Create(b.Context(), rec); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				writers.Wait()
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(stat(b, server.Addr, "stats", "bytes")/float64(n), "item-B/session")
			b.ReportMetric(stat(b, server.Addr, "stats slabs", "total_malloced")/float64(n), "pages-B/session")
		})
	}
}

// stat returns a number from the server's statistics.
func stat(tb testing.TB, addr, command, name string) (n float64) {
	tb.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "%s\r\n", command)
	for lines := bufio.NewScanner(c); lines.Scan() && lines.Text() != "END"; {
		if rest, ok := strings.CutPrefix(lines.Text(), "STAT "+name+" "); ok {
			fmt.Sscan(rest, &n)
		}
	}
	if n == 0 {
		tb.Fatalf("%s: no %s", command, name)
	}
	return n
}
