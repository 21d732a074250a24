package memcachedstore_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store/storetest"
)

// BenchmarkSize measures the pages that the server takes for a session. They are what is left of its memory, not the
// items in them.
func BenchmarkSize(b *testing.B) {
	server := servertest.Memcached(b, "-m", "1024")
	s := open(b, server.URL, nil)
	storetest.BenchSize(b, s, func() int64 { return stat(b, server.Addr, "stats slabs", "total_malloced") })
}

// stat returns a number from the server's statistics.
func stat(tb testing.TB, addr, command, name string) (n int64) {
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
