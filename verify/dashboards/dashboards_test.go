package dashboards

import (
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/hipflask/session"
	"github.com/hipflask/session/internal/servertest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// night is a run of a Fleet. Its clock goes on by a scrape's interval whenever all visitors have got their responses,
// so that rates are the same on every machine, and hours take seconds.
type night struct {
	*Fleet
	t      *testing.T
	phases []phase
}

type phase struct {
	name     string
	from, to time.Time
}

// phase lets all visitors send a request, and each calls what else happens, before each of so many scrapes.
func (n *night) phase(name string, scrapes int, each func()) {
	n.t.Helper()
	p := phase{name: name, from: n.Now}
	for range scrapes {
		if each != nil {
			each()
		}
		All(n.Visitors, (*Visitor).Visit)
		if err := n.Scrape(); err != nil {
			n.t.Fatal(err)
		}
	}
	p.to = n.Now.Add(-n.Every)
	n.phases = append(n.phases, p)
}

func (n *night) named(name string) phase {
	return n.phases[slices.IndexFunc(n.phases, func(p phase) bool { return p.name == name })]
}

// play plays the night: a hot session, then Redis hangs, is killed and comes back empty, and so on.
func play(t *testing.T) *night {
	fleet, err := NewFleet(t, 3, 66, 3*time.Second, 15*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	n := &night{Fleet: fleet, t: t}
	small, err := n.start(t, memstore.New(&memstore.Options{MaxSessions: 2}))
	if err != nil {
		t.Fatal(err)
	}
	n.phase("calm", 8, nil)

	browser := n.Visitors[0]
	tabs := slices.Repeat([]*Visitor{browser}, 30)
	n.phase("hot", 8, func() {
		All(tabs, func(v *Visitor) {
			for range 4 {
				v.Visit()
			}
		})
	})

	n.phase("hung", 1, func() {
		held := n.hold()
		n.Redis.Pause()
		for _, s := range n.servers {
			close(s.release)
		}
		<-held
	})
	n.Redis.Resume()
	n.Redis.Kill()
	n.phase("down", 8, nil)
	n.Redis.Start()
	n.reconnect()
	n.phase("empty", 4, nil)

	other := n.config
	other.SecretKey, other.Store = session.NewSecretKey(), memstore.New(nil)
	strangers, err := session.New(other)
	if err != nil {
		t.Fatal(err)
	}
	defer strangers.Close()
	n.phase("another key", 28, func() { n.forged(strangers, 30) })

	n.phase("strange", 2, sync.OnceFunc(func() { n.strange(small.sessions) }))
	redis := n.servers[0].redis.Client()
	n.Every = time.Minute
	n.phase("slow", 16, func() {
		if err := redis.Do(t.Context(), redis.B().ClientPause().Timeout(120).All().Build()).Error(); err != nil {
			t.Fatal(err)
		}
	})
	n.Every = 15 * time.Second
	return n
}

// reconnect returns when all servers have noticed that Redis is back.
func (n *night) reconnect() {
	for _, s := range n.servers {
		for s.sessions.Ping(n.t.Context()) != nil {
			<-time.After(10 * time.Millisecond)
		}
	}
}

// hold returns when each server has a request that has loaded its session and waits. Its result is closed when they
// have ended.
func (n *night) hold() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		All(n.Visitors[:len(n.servers)], func(v *Visitor) { v.Send("/hold") })
	}()
	for _, s := range n.servers {
		<-s.held
	}
	return ended
}

// forged sends cookies that another server has signed, by another key.
func (n *night) forged(strangers *session.Manager, count int) {
	for i := range count {
		r := sessionOf(n.t, strangers)
		w := httptest.NewRecorder()
		n.servers[i%len(n.servers)].app.Config.Handler.ServeHTTP(w, r)
	}
}

func sessionOf(t *testing.T, m *session.Manager) *http.Request {
	s, err := m.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	s.Set("name", "stranger")
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/visit", nil)
	r.AddCookie(m.Cookie(s))
	return r
}

// strange makes happen what doesn't belong to an outage.
func (n *night) strange(small *session.Manager) {
	n.rewrite("visitor-1", func(r *store.Record) { r.CreatedAt = r.CreatedAt.Add(10 * time.Minute) })
	n.rewrite("visitor-2", func(r *store.Record) { r.Data = []byte("no JSON") })
	for _, path := range []string{"/fill", "/late", "/logout"} {
		n.Visitors[3].Send(path)
	}
	if count, err := n.servers[0].sessions.RevokeAll(n.t.Context(), "visitor-4"); count != 1 || err != nil {
		n.t.Fatal(count, err)
	}
	for _, s := range n.servers {
		s.rival.on.Store(true)
		defer s.rival.on.Store(false)
	}
	All(n.Visitors[5:8], (*Visitor).Visit)
	for range 3 {
		sessionOf(n.t, small) // there is room for two
	}
}

// alarms says in which phase each alert begins to fire, as it must, or that it must not.
var alarms = map[string]string{
	"SessionStoreUnavailable":   "down",
	"SessionStoreEmptied":       "empty",
	"SessionsEvicted":           "strange",
	"SessionContention":         "strange",
	"SessionClocksDiffer":       "strange",
	"SessionSignaturesRejected": "another key",
	"SessionStoreSlow":          "slow",
}

// expectations say what a panel shows in a phase.
var expectations = []struct {
	panel, query, phase string // query is part of one
	least, most         float64
}{
	{"Requests that failed", "", "calm", 0, 0},
	{"Requests that failed", "", "hot", 0, 0},
	{"Requests that failed", "", "hung", 1, 10},
	{"Requests that failed", "", "down", 1, 10},
	{"Calls of the store that failed", "count", "hot", 0, 0},
	{"Calls of the store that failed", "count", "down", 1, 20},
	{"Loads and saves", "load", "calm", 3, 10},
	{"Conflicts per save", "conflicts", "calm", 0, 0},
	{"Conflicts per save", "conflicts", "hot", 0.01, 10},
	{"Conflicts per save", "attempts", "calm", 1, 1},
	{"Saves that waited for another", "count", "calm", 0, 0},
	{"Saves that waited for another", "count", "hot", 0.1, 100},
	{"Rejected cookies", "rejected", "empty", 1, 10},
	{"Logins and ends", "login", "calm", 0, 0},
	{"Logins and ends", "login", "empty", 1, 10},
	{"Alarms", "emptied", "hot", 0, 0},
	{"Alarms", "emptied", "empty", 1, 3},
}

// TestNight: what the queries of the dashboard and of the alerts show of a real outage of a real Redis, of a hot
// session, and of what else they are for.
func TestNight(t *testing.T) {
	panels, rules, err := Read("../../docs/dashboards")
	if err != nil {
		t.Fatal(err)
	}
	n := play(t)
	t.Run("selectors", func(t *testing.T) {
		for _, p := range panels {
			if len(p.Targets) == 0 || p.Description == "" {
				t.Errorf("panel %q has no query, or no description", p.Title)
			}
			for _, target := range p.Targets {
				n.checkSelectors(t, p.Title, target.Expr)
			}
		}
		for _, r := range rules {
			n.checkSelectors(t, r.Alert, r.Expr)
		}
	})
	t.Run("alerts", func(t *testing.T) { n.checkAlerts(t, rules) })
	t.Run("panels", func(t *testing.T) { n.checkPanels(t, panels) })
}

func (n *night) checkAlerts(t *testing.T, rules []Rule) {
	if len(rules) != len(alarms) {
		t.Errorf("alerts.yml has %d alerts, and this test knows %d", len(rules), len(alarms))
	}
	for _, r := range rules {
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("alert %q lacks a summary or description", r.Alert)
		}
		firing, err := n.Fires(r, n.phases[0].from, n.Now)
		if err != nil {
			t.Fatal(err)
		}
		if len(firing) == 0 {
			t.Errorf("%s never fires", r.Alert)
			continue
		}
		for _, p := range n.phases {
			if !firing[0].Before(p.from) && !firing[0].After(p.to) && p.name != alarms[r.Alert] {
				t.Errorf("%s begins to fire in phase %q, not in %q", r.Alert, p.name, alarms[r.Alert])
			}
		}
	}
}

func (n *night) checkPanels(t *testing.T, panels []Panel) {
	for _, p := range panels {
		for _, target := range p.Targets {
			if most, err := n.Max(target.Expr, n.phases[0].from, n.Now); err != nil || math.IsNaN(most) {
				t.Errorf("panel %s: %s: nothing all night (%v)", p.Title, target.Expr, err)
			}
		}
	}
	for _, e := range expectations {
		found := false
		for _, p := range panels {
			for _, target := range p.Targets {
				if p.Title != e.panel || !strings.Contains(target.Expr, e.query) || found {
					continue
				}
				found = true
				at := n.named(e.phase)
				most, err := n.Max(target.Expr, at.from, at.to)
				if err != nil {
					t.Fatal(err)
				}
				if math.IsNaN(most) {
					most = 0
				}
				if most < e.least || most > e.most {
					t.Errorf("panel %s, %s, phase %q: at most %v, want %v to %v", e.panel, e.query, e.phase,
						most, e.least, e.most)
				}
			}
		}
		if !found {
			t.Errorf("panel %s has no query with %q", e.panel, e.query)
		}
	}
}

// checkSelectors looks whether every selector of a query finds what was exposed, and every label that it groups by is
// there.
func (n *night) checkSelectors(t *testing.T, where, query string) {
	expr, err := n.parse(query)
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	var found []*promql.Series
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok {
			found = append(found, n.matching(v.LabelMatchers)...)
			for _, matchers := range alternatives(v.LabelMatchers) {
				if !slices.ContainsFunc(n.matching(matchers), exposed) {
					t.Errorf("%s: the servers never exposed %v", where, matchers)
				}
			}
		}
		return nil
	})
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if a, ok := node.(*parser.AggregateExpr); ok {
			for _, name := range a.Grouping {
				if !slices.ContainsFunc(found, func(s *promql.Series) bool { return s.Metric.Has(name) }) {
					t.Errorf("%s: nothing that it reads has the label %s", where, name)
				}
			}
		}
		return nil
	})
}

// exposed reports whether s was ever more than a counter that stands at 0.
func exposed(s *promql.Series) bool {
	return slices.ContainsFunc(s.Floats, func(p promql.FPoint) bool { return p.F > 0 })
}

// alternatives returns the matchers with each alternative of a regular expression "a|b|c" alone.
func alternatives(matchers []*labels.Matcher) (list [][]*labels.Matcher) {
	list = append(list, matchers)
	for i, m := range matchers {
		if m.Type != labels.MatchRegexp {
			continue
		}
		for value := range strings.SplitSeq(m.Value, "|") {
			single := slices.Clone(matchers)
			single[i] = labels.MustNewMatcher(labels.MatchEqual, m.Name, value)
			list = append(list, single)
		}
	}
	return list
}

// rewrite changes what is stored of somebody's session.
func (n *night) rewrite(principal string, change func(*store.Record)) {
	s := n.servers[0].redis
	for r, err := range s.Principal(n.t.Context(), principal) {
		if err != nil {
			n.t.Fatal(err)
		}
		if r, err = s.Load(n.t.Context(), r.Key); err != nil {
			n.t.Fatal(err)
		}
		version := r.Version
		r.Version = store.NewVersion()
		change(&r)
		if err := s.Replace(n.t.Context(), r, version); err != nil {
			n.t.Fatal(err)
		}
	}
}
