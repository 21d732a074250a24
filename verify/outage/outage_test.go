package outage_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/verify/outage"
)

// storeTimeout is that of all Managers here.
const storeTimeout = 500 * time.Millisecond

var rounds = flag.Int("outage.rounds", 1, "how often each outage comes")

// service is the server, or servers, of a store, as the outages see it. What is nil can't happen to it.
type service struct {
	open    func() (s store.Store, close func())
	options outage.Options

	kill, start   func()
	forgets       bool // killed, it loses what it has
	pause, resume func()
	lose          func(bool)          // answers get lost, now and then
	proxies       []*servertest.Proxy // on the way to it
	sentinels     *servertest.Sentinels
	others        []kind // what else can happen to it
}

// kind is a way in which a server can be away.
type kind struct {
	name    string
	happens func(x *trial)
	forgets bool // what was stored may be lost
}

// trial is one outage under way.
type trial struct {
	*service
	t    *testing.T
	site *outage.Site
}

// fails waits until all clients were told a few times that it did not work.
func (x *trial) fails() { x.site.Failed(x.t.Context(), 3) }

// failsSomewhere waits until some clients were refused.
func (x *trial) failsSomewhere() {
	x.t.Helper()
	before := x.site.Failures()
	for deadline := time.Now().Add(time.Minute); x.site.Failures() < before+5; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			x.t.Fatal("the store is away, and all goes well")
		}
	}
}

// works waits until all clients' changes were acknowledged a few times.
func (x *trial) works() { x.site.Used(x.t.Context(), 3) }

// kinds returns all that can happen to a server.
func (s *service) kinds() []kind {
	var all []kind
	if s.kill != nil {
		all = append(all, kind{name: "killed and started", forgets: s.forgets, happens: func(x *trial) {
			x.kill()
			x.fails()
			x.start()
		}})
	}
	if s.pause != nil {
		all = append(all, kind{name: "paused and continued", happens: func(x *trial) {
			x.pause()
			x.fails()
			x.resume()
		}})
	}
	if s.lose != nil {
		all = append(all, kind{name: "answers lost", happens: func(x *trial) {
			x.lose(true)
			x.fails()
			x.lose(false)
		}})
	}
	if s.proxies != nil {
		all = append(all, connections...)
	}
	return append(all, s.others...)
}

// connections is what can happen on the way to a server.
var connections = []kind{
	{name: "connections refused", happens: func(x *trial) {
		x.each((*servertest.Proxy).Refuse)
		x.fails()
		x.each((*servertest.Proxy).Pass)
	}},
	{name: "connections silent", happens: func(x *trial) {
		x.each((*servertest.Proxy).Hold)
		x.fails()
		x.each((*servertest.Proxy).Pass)
	}},
	{name: "requests cut off", happens: func(x *trial) { x.cut((*servertest.Proxy).CutRequest) }},
	{name: "answers cut off", happens: func(x *trial) { x.cut((*servertest.Proxy).CutAnswer) }},
	{name: "server slow", happens: func(x *trial) {
		x.each(func(p *servertest.Proxy) { p.Delay(20 * time.Millisecond) })
		x.works()
		x.each(func(p *servertest.Proxy) { p.Delay(2 * storeTimeout) })
		x.fails()
		x.each((*servertest.Proxy).Pass)
	}},
}

func (x *trial) each(do func(*servertest.Proxy)) {
	for _, p := range x.proxies {
		do(p)
	}
}

// written is in each request that stores a session, and in no other: the name of a value.
var written = []byte("visits")

// cut cuts one connection after the other: every second time in the middle of a save.
func (x *trial) cut(how func(*servertest.Proxy, []byte)) {
	const times = 16
	for i := range times {
		p := x.proxies[i/2%len(x.proxies)]
		before := p.Cuts()
		how(p, [][]byte{written, nil}[i%2])
		for deadline := time.Now().Add(10 * time.Second); p.Cuts() == before; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				x.t.Fatal("no request came that could be cut off")
			}
		}
	}
}

// between lets clients fail between two moments.
func between(name string, begin, end func(*trial)) kind {
	return kind{name: name, happens: func(x *trial) {
		begin(x)
		x.fails()
		end(x)
	}}
}

// readable is the same, for a server that goes on to answer reads meanwhile.
func readable(name string, begin, end func(*trial)) kind {
	return between(name, begin, func(x *trial) {
		x.site.Read(x.t.Context(), 1)
		end(x)
	})
}

// try lets something happen to a server, and returns what was wrong meanwhile and afterwards.
func (s *service) try(t *testing.T, k kind) (outage.Counts, []string) {
	var counts outage.Counts
	var findings []string
	ctx := pprof.WithLabels(t.Context(), pprof.Labels("trial", t.Name()+" "+k.name))
	pprof.SetGoroutineLabels(ctx)
	defer pprof.SetGoroutineLabels(context.Background())
	func() {
		o := s.options
		o.Forgets = o.Forgets || k.forgets
		o.StoreTimeout = cmp.Or(o.StoreTimeout, storeTimeout)
		for range 2 {
			st, closeIt := s.open()
			defer closeIt()
			o.Stores = append(o.Stores, st)
		}
		site, err := outage.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer site.Close()
		x := &trial{service: s, t: t, site: site}
		x.works()
		for range *rounds {
			k.happens(x)
			x.works()
		}
		counts, findings = site.Check(t.Context())
	}()
	if left := goroutines(t.Name()+" "+k.name, cmp.Or(s.options.Patience, 10*time.Second)); left != "" {
		findings = append(findings, "goroutines are left: "+left)
	}
	return counts, findings
}

// goroutines returns those that somebody started in a trial and that don't end. Goroutines have the labels of the one
// that started them.
func goroutines(trial string, patience time.Duration) string {
	label := fmt.Sprintf("%q:%q", "trial", trial)
	var left []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var b strings.Builder
		if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
			return err.Error()
		}
		left = left[:0]
		for stack := range strings.SplitSeq(b.String(), "\n\n") {
			if strings.Contains(stack, label) && !strings.Contains(stack, "pprof.writeGoroutine") &&
				!strings.Contains(stack, "servertest.(*Server).start") { // a server that was started again stays
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			return ""
		}
	}
	return strings.Join(left, "\n\n")
}

// survives lets everything happen to a server that can, one after the other.
func (s *service) survives(t *testing.T) {
	for _, k := range s.kinds() {
		t.Run(strings.ReplaceAll(k.name, " ", "_"), func(t *testing.T) {
			counts, findings := s.try(t, k)
			t.Log(counts)
			for _, f := range findings {
				t.Error(f)
			}
		})
	}
}

// TestOutages takes the servers of all stores away, in all ways that there are.
func TestOutages(t *testing.T) {
	for name, start := range services {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start(t).survives(t)
		})
	}
}
