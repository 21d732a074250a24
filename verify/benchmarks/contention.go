package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/storeurl"
)

// This file measures many clients that change one session at the same time. Each process has a server with a Manager of
// its own, and its share of the clients, which send one request after the other over connections of their own.

// contended is the environment variable that makes this program one of those processes.
const contended = "HIPFLASK_CONTENDED"

// contest is what such a process is told.
type contest struct {
	URL, Key, Cookie string
	Clients          int
	For              time.Duration
}

// outcome is what it answers.
type outcome struct {
	Clients     []int // changes that each client was answered as done
	Unavailable int   // answers 503 that say that nothing was changed
	Uncertain   int   // other answers 503
	Latencies   []time.Duration
	Took        time.Duration
}

const counted = session.Key[int]("counted")

// contend is such a process: it reads a contest, says that it is ready, waits for a line, and prints the outcome.
func contend() error {
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	var c contest
	if err := json.Unmarshal(line, &c); err != nil {
		return err
	}
	m, s, err := contestant(c.URL, c.Key)
	if err != nil {
		return err
	}
	defer s.Close()
	defer m.Close()
	fmt.Println("ready")
	if _, err := in.ReadBytes('\n'); err != nil {
		return err
	}
	o, err := c.run(m)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(o)
}

func contestant(url, key string) (*session.Manager, storeurl.Store, error) {
	s, err := storeurl.Open(context.Background(), url)
	if err != nil {
		return nil, nil, err
	}
	m, err := session.New(session.Config{SecretKey: key, Store: s, SweepInterval: -1})
	return m, s, err
}

func (c contest) run(m *session.Manager) (o outcome, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return o, err
	}
	server := &http.Server{Handler: m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		counted.Update(s, func(n int) int { return n + 1 })
		if err := s.Save(r.Context()); err != nil {
			if errors.Is(err, session.ErrUncertain) {
				w.Header().Set("Uncertain", "1")
			}
			m.Error(w, r, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))}
	go server.Serve(l)
	defer server.Close()
	o = outcome{Clients: make([]int, c.Clients)}
	var all sync.WaitGroup
	var mu sync.Mutex
	began := time.Now()
	for i := range c.Clients {
		all.Go(func() {
			one, failed := c.client("http://"+l.Addr().String()+"/", began)
			mu.Lock()
			defer mu.Unlock()
			o.Clients[i] = one.Clients[0]
			o.count(one)
			err = cmp.Or(err, failed)
		})
	}
	all.Wait()
	o.Took = time.Since(began)
	return o, err
}

// client sends one request after the other.
func (c contest) client(url string, began time.Time) (outcome, error) {
	o := outcome{Clients: []int{0}}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for time.Since(began) < c.For {
		r, err := http.NewRequest("POST", url, nil)
		if err != nil {
			return o, err
		}
		r.Header.Set("Cookie", c.Cookie)
		sent := time.Now()
		res, err := transport.RoundTrip(r)
		if err != nil {
			return o, err
		}
		_, err = io.Copy(io.Discard, res.Body)
		if err := cmp.Or(err, res.Body.Close()); err != nil {
			return o, err
		}
		o.Latencies = append(o.Latencies, time.Since(sent))
		switch {
		case res.StatusCode == http.StatusNoContent:
			o.Clients[0]++
		case res.StatusCode != http.StatusServiceUnavailable:
			return o, fmt.Errorf("a response has the status %s", res.Status)
		case res.Header.Get("Uncertain") != "":
			o.Uncertain++
		default:
			o.Unavailable++
		}
	}
	return o, nil
}

// contestants starts processes that contend for one new session of a store, and adds up what they answer. It fails if
// the session does not have what was answered.
func (b *bench) contestants(url string, processes, clients int, length time.Duration) (outcome, error) {
	key := session.NewSecretKey()
	m, s, err := contestant(url, key)
	if err != nil {
		return outcome{}, err
	}
	defer s.Close()
	defer m.Close()
	ctx := context.Background()
	first, err := m.Load(ctx, "")
	if err != nil {
		return outcome{}, err
	}
	first.Set("cart", strings.Repeat("x", 160))
	if err := first.Save(ctx); err != nil {
		return outcome{}, err
	}
	var sum outcome
	if strings.HasPrefix(url, "memory:") { // it has one process, this one, whose store is s
		sum, err = contest{Cookie: cookieName + "=" + first.Token(), Clients: clients, For: length}.run(m)
	} else {
		err = sum.race(contest{url, key, cookieName + "=" + first.Token(), clients, length}, processes)
	}
	if err != nil {
		return outcome{}, err
	}
	now, err := m.Load(ctx, first.Token())
	if err != nil {
		return outcome{}, err
	}
	if n := counted.Or(now, 0); n < sum.done() || n > sum.done()+sum.Uncertain {
		return outcome{}, fmt.Errorf("%d changes were answered as done and %d as uncertain, the session has %d",
			sum.done(), sum.Uncertain, n)
	}
	return sum, nil
}

const cookieName = "__Host-session"

// race runs the contest in so many processes.
func (o *outcome) race(c contest, processes int) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	type running struct {
		cmd *exec.Cmd
		in  io.WriteCloser
		out *bufio.Reader
	}
	var all []running
	defer func() {
		for _, p := range all {
			p.in.Close()
			_ = p.cmd.Process.Kill() // fails if it has ended
			_ = p.cmd.Wait()         // how it ended shows in what it printed
		}
	}()
	for i := range processes {
		share := c
		share.Clients = (c.Clients + i) / processes
		if share.Clients == 0 {
			continue
		}
		p := running{cmd: exec.Command(program)}
		p.cmd.Env = append(os.Environ(), contended+"=1")
		p.cmd.Stderr = os.Stderr
		if p.in, err = p.cmd.StdinPipe(); err != nil {
			return err
		}
		out, err := p.cmd.StdoutPipe()
		if err != nil {
			return err
		}
		p.out = bufio.NewReader(out)
		if err := p.cmd.Start(); err != nil {
			return err
		}
		all = append(all, p)
		if err := json.NewEncoder(p.in).Encode(share); err != nil {
			return err
		}
	}
	for _, p := range all {
		if line, err := p.out.ReadString('\n'); err != nil || line != "ready\n" {
			return fmt.Errorf("a process did not get ready: %q, %v", line, err)
		}
	}
	for _, p := range all {
		if _, err := io.WriteString(p.in, "go\n"); err != nil {
			return err
		}
	}
	for _, p := range all {
		var one outcome
		if err := json.NewDecoder(p.out).Decode(&one); err != nil {
			return err
		}
		o.add(one)
	}
	return nil
}

func (o *outcome) add(one outcome) {
	o.Clients = append(o.Clients, one.Clients...)
	o.Took = max(o.Took, one.Took)
	o.count(one)
}

// count adds the answers of one, but not its clients.
func (o *outcome) count(one outcome) {
	o.Unavailable += one.Unavailable
	o.Uncertain += one.Uncertain
	o.Latencies = append(o.Latencies, one.Latencies...)
}

func (o *outcome) done() (n int) {
	for _, c := range o.Clients {
		n += c
	}
	return n
}

func (o *outcome) rate() float64 { return float64(o.done()) / o.Took.Seconds() }

func (o *outcome) failed() int { return o.Unavailable + o.Uncertain }

// percentile returns how long this share of the responses took at most.
func (o *outcome) percentile(share float64) time.Duration {
	slices.Sort(o.Latencies)
	return o.Latencies[int(math.Ceil(share*float64(len(o.Latencies))))-1]
}

// fairness returns how many changes the slowest client made, as a share of the fastest one's.
func (o *outcome) fairness() float64 {
	return float64(slices.Min(o.Clients)) / float64(max(slices.Max(o.Clients), 1))
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
		alone, err := b.contestants(s.url, 1, 1, short)
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
				o, err := b.contestants(s.url, processes, n, length)
				if err != nil {
					return fmt.Errorf("%s, %d clients in %d processes: %w", s.name, n, processes, err)
				}
				t.add(s.name, fmt.Sprint(processes), fmt.Sprint(n), thousands(int(o.rate())), thousands(int(floor)),
					share(o.failed(), o.done()+o.failed()), nanoseconds(float64(o.percentile(0.5))),
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
