package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hipflask/session/internal/servertest"
)

// This file measures many clients that change one session at the same time: each asks the README's program for its home
// page, which counts the visit, again and again over connections of its own. The program runs in several processes.

// outcome is what the clients got.
type outcome struct {
	Clients     []int // visits that each client was told of
	Unavailable int   // responses 503
	Latencies   []time.Duration
	Took        time.Duration
}

// contend starts processes on a store and lets clients contend for one new session. It fails if the session does not
// have what was answered.
func (b *bench) contend(url string, processes, clients int, length time.Duration) (o outcome, err error) {
	var running []*process
	defer func() {
		for _, p := range running {
			err = errors.Join(err, p.stop())
		}
	}()
	for range processes {
		p, err := start(func(addr string) *exec.Cmd {
			return exec.Command(filepath.Join(b.dir, "readme"), "-store", url, "-addr", addr)
		})
		if err != nil {
			return o, err
		}
		running = append(running, p)
	}
	user := server{process: running[0]}
	cookie, err := user.process.logIn("ann") // and a first visit
	if err != nil {
		return o, err
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	began := time.Now()
	for i := range clients {
		all.Go(func() {
			one, failed := client(running[i%processes].url, cookie, began.Add(length))
			mu.Lock()
			defer mu.Unlock()
			err = cmp.Or(err, failed)
			o.Clients = append(o.Clients, one.Clients...)
			o.Unavailable += one.Unavailable
			o.Latencies = append(o.Latencies, one.Latencies...)
		})
	}
	all.Wait()
	o.Took = time.Since(began)
	if err != nil {
		return o, err
	}
	page, _, err := user.get(cookie)
	// Of those that got a 503 some may count: the store's response was lost.
	if n := count(page) - 2; err == nil && (n < o.done() || n > o.done()+o.Unavailable) {
		err = fmt.Errorf("%d visits got a response and %d a 503, the session has %d", o.done(), o.Unavailable, n)
	}
	return o, err
}

// client sends one request after the other.
func client(url, cookie string, until time.Time) (outcome, error) {
	o := outcome{Clients: []int{0}}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for time.Now().Before(until) {
		r, err := http.NewRequest("GET", url, nil)
		if err != nil {
			return o, err
		}
		r.Header.Set("Cookie", cookie)
		sent := time.Now()
		res, err := transport.RoundTrip(r)
		if err != nil {
			return o, err
		}
		page, err := io.ReadAll(res.Body)
		if err := cmp.Or(err, res.Body.Close()); err != nil {
			return o, err
		}
		o.Latencies = append(o.Latencies, time.Since(sent))
		switch {
		case res.StatusCode == http.StatusServiceUnavailable:
			o.Unavailable++
		case count(string(page)) == 0:
			return o, fmt.Errorf("got the status %s and %q", res.Status, page)
		default:
			o.Clients[0]++
		}
	}
	return o, nil
}

func (o *outcome) done() (n int) {
	for _, c := range o.Clients {
		n += c
	}
	return n
}

func (o *outcome) rate() float64 { return float64(o.done()) / o.Took.Seconds() }

// percentile returns how long this share of the responses took at most.
func (o *outcome) percentile(share float64) time.Duration {
	slices.Sort(o.Latencies)
	return o.Latencies[int(math.Ceil(share*float64(len(o.Latencies))))-1]
}

// fairness returns how many changes the slowest client made, as a share of the fastest one's.
func (o *outcome) fairness() float64 {
	return float64(slices.Min(o.Clients)) / float64(max(slices.Max(o.Clients), 1))
}

// hot measures the cases of contention that have a target.
func (b *bench) hot() error {
	if err := b.build("verify/benchmarks/readme"); err != nil {
		return err
	}
	var tb testbed
	defer tb.close()
	length := min(5*time.Second, time.Duration(b.plan.Rounds)*200*time.Millisecond)
	whole := func(v float64) string { return thousands(int(v)) }
	o, err := b.contend("memory:", 1, 200, length)
	if err != nil {
		return err
	}
	b.limit("one session in memory, 200 clients: changes a second", "", whole, 25_000, 40_000, o.rate())
	b.limit("the same: p99", "", nanoseconds, 50e6, 20e6, float64(o.percentile(0.99)))
	redis := urlOf(servertest.Redis(&tb))
	for _, processes := range []int{1, 2, 4} {
		if o, err = b.contend(redis, processes, 500, length); err != nil {
			return err
		}
		where := fmt.Sprintf("one session in Redis, 500 clients, processes: %d", processes)
		b.limit(where+": changes a second", "", whole, 2000, 4000, o.rate())
		b.limit(where+": slowest client, of the fastest", "", ratio, 0.5, 0.8, o.fairness())
		b.limit(where+": responses 503", "", whole, 0, 0, float64(o.Unavailable))
	}
	return nil
}

// hotStore is a store that processes contend for a session of.
type hotStore struct{ name, url string }

func (b *bench) hotStores(tb *testbed) []hotStore {
	all := []hotStore{{"memory", "memory:"}, {"files", "file:" + filepath.Join(b.dir, "hot")}}
	if b.plan.Rounds == 1 {
		return all
	}
	return append(all,
		hotStore{"SQLite", "sqlite:" + filepath.Join(b.dir, "hot.db")},
		hotStore{"Redis", urlOf(servertest.Redis(tb))},
		hotStore{"PostgreSQL", servertest.Postgres(tb, "fsync=on").URL},
		hotStore{"MariaDB", servertest.MariaDB(tb, "--innodb-flush-method=fsync").URL},
		hotStore{"memcached", "memcached://" + servertest.Memcached(tb).Addr},
	)
}

// contention measures clients that change one session: 1 to 500 of them, in 1, 2 and 4 processes, beside one writer
// alone.
func (b *bench) contention() error {
	if err := b.build("verify/benchmarks/readme"); err != nil {
		return err
	}
	var tb testbed
	defer tb.close()
	clients, short, long := []int{2, 10, 50, 500}, 5*time.Second, 30*time.Second
	switch {
	case b.plan.Rounds == 1:
		clients, short, long = []int{20}, 200*time.Millisecond, 200*time.Millisecond
	case b.quick:
		short, long = 2*time.Second, 5*time.Second
	}
	t := table{head: []string{"store", "processes", "clients", "changes/s", "one writer", "503", "p50",
		"p99", "slowest client"}}
	var lines []series
	for _, s := range b.hotStores(&tb) {
		alone, err := b.contend(s.url, 1, 1, short)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		floor := alone.rate()
		line := series{name: s.name}
		line.add(1, floor)
		for _, processes := range []int{1, 2, 4} {
			if s.name == "memory" && processes > 1 {
				continue
			}
			for _, n := range clients {
				length := short
				if n == clients[len(clients)-1] {
					length = long
				}
				o, err := b.contend(s.url, processes, n, length)
				if err != nil {
					return fmt.Errorf("%s, %d clients in %d processes: %w", s.name, n, processes, err)
				}
				t.add(s.name, fmt.Sprint(processes), fmt.Sprint(n), thousands(int(o.rate())), thousands(int(floor)),
					share(o.Unavailable, o.done()+o.Unavailable), nanoseconds(float64(o.percentile(0.5))),
					nanoseconds(float64(o.percentile(0.99))),
					fmt.Sprintf("%.2f", o.fairness()))
				fmt.Fprintln(os.Stderr, strings.Join(t.lines[len(t.lines)-1], " | ")) // it takes long
				if processes == 4 || s.name == "memory" {
					line.add(n, o.rate())
				}
			}
		}
		if s.name != "memcached" {
			lines = append(lines, line)
		}
	}
	err := b.draw("contention.svg", chart{
		title: "Changes of one session, by clients in four processes (memory: one)",
		x:     "clients", y: "changes a second",
		format: func(v float64) string { return thousands(int(v)) }, series: lines,
	})
	if err != nil {
		return err
	}
	return b.publish("contention", "Clients that change one session", t)
}

// share writes how much of a whole a part is.
func share(part, whole int) string {
	if part == 0 {
		return "none"
	}
	return fmt.Sprintf("%.3g %%", 100*float64(part)/float64(whole))
}
