package storetest

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
)

// The promises of package session that need a real store's semantics, run through real Managers: P1 to P10 are numbered
// as in its documentation. Each clause is an application on three servers, which share the stores under test.
var promiseClauses = slices.Concat(writePromises, attributePromises, endPromises, limitPromises, faultPromises,
	dataPromises)

// site is one application on several servers: Managers with one key over the same data.
type site struct {
	p       *probe
	servers []*session.Manager
	weather weather

	mu     sync.Mutex
	events []session.Event
}

// site opens an application with three servers, of which the second has its own opened store.
func (p *probe) site(a, b store.Store) *site { return p.servers(a, b, a) }

func (p *probe) servers(stores ...store.Store) *site { return p.configured(nil, stores...) }

// realms opens an application whose servers are of several realms.
func (p *probe) realms(names []string, stores ...store.Store) *site {
	return p.configured(func(i int, c *session.Config) { c.Realm = names[i] }, stores...)
}

// configured is servers, with what change makes of the configuration of each; nil: nothing.
func (p *probe) configured(change func(i int, c *session.Config), stores ...store.Store) *site {
	st := &site{p: p}
	key := session.NewSecretKey()
	for i, s := range stores {
		c := session.Config{
			SecretKey:     key,
			Store:         st.through(s),
			InsecureHTTP:  true,
			MaxBytes:      p.cfg.maxData,
			SweepInterval: -1, // other clauses count what is swept
			Logger:        slog.New(slog.DiscardHandler),
			OnEvent: func(_ context.Context, e session.Event) {
				st.mu.Lock()
				defer st.mu.Unlock()
				st.events = append(st.events, e)
			},
		}
		if change != nil {
			change(i, &c)
		}
		m, err := session.New(c)
		p.ok(err, "session.New")
		st.servers = append(st.servers, m)
	}
	return st
}

func (st *site) close() {
	for _, m := range st.servers {
		st.p.want(nil, m.Close(), "Manager.Close")
	}
}

// counted returns how many events of a kind there were.
func (st *site) counted(kind session.EventKind) (n int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, e := range st.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// through returns s as the Managers see it: records made are deleted when the clause ends, and calls can fail.
func (st *site) through(s store.Store) store.Store {
	t := through{s, st}
	if l, ok := store.As[store.Lister](s); ok {
		return throughLister{t, l}
	}
	return t
}

type through struct {
	store.Store
	st *site
}

// throughLister has the index as well.
type throughLister struct {
	through
	store.Lister
}

func (t through) Load(ctx context.Context, key string) (rec store.Record, err error) {
	err = t.call(ctx, "Load", key, func(ctx context.Context) (err error) {
		rec, err = t.Store.Load(ctx, key)
		return err
	})
	return rec, err
}

func (t through) Create(ctx context.Context, rec store.Record) error {
	t.st.p.deletes(t.Store, rec.Key)
	return t.call(ctx, "Create", "", func(ctx context.Context) error { return t.Store.Create(ctx, rec) })
}

func (t through) Replace(ctx context.Context, rec store.Record, version uint64) error {
	return t.call(ctx, "Replace", rec.Key, func(ctx context.Context) error {
		return t.Store.Replace(ctx, rec, version)
	})
}

func (t through) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	return t.call(ctx, "Touch", key, func(ctx context.Context) error {
		return t.Store.Touch(ctx, key, version, seen, expires)
	})
}

func (t through) Delete(ctx context.Context, key string) error {
	return t.call(ctx, "Delete", "", func(ctx context.Context) error { return t.Store.Delete(ctx, key) })
}

func (t through) call(ctx context.Context, op, key string, do func(context.Context) error) error {
	return t.st.weather.call(ctx, op, do, func() bool { return t.overtake(key) })
}

// overtaker is the name of the value that another request sets.
const overtaker = "overtaker"

// overtake changes the session under key, if there is one, as a request to another server would.
func (t through) overtake(key string) bool {
	rec, err := t.Store.Load(t.st.p.ctx, key)
	if key == "" || err != nil || rec.Kind != store.Live {
		return false
	}
	was := rec.Version
	rec.Version = store.NewVersion()
	rec.Data = fmt.Appendf(nil, `{"%s":1,%s`, overtaker, strings.TrimPrefix(string(rec.Data), "{"))
	err = t.Store.Replace(t.st.p.ctx, rec, was)
	t.st.p.want(nil, err, "Replace by another request")
	return err == nil
}

// A browser has the session's cookie, and remembers those that it had before.
type browser struct {
	st     *site
	mu     sync.Mutex
	cookie string
	had    []string
}

func (st *site) browser() *browser { return &browser{st: st} }

// A visit is a request of a browser.
type visit struct {
	b       *browser
	r       *http.Request
	w       *httptest.ResponseRecorder
	entered chan struct{}
	resumed chan struct{}
	ended   chan struct{}
	enter   sync.Once
	resume  sync.Once
	refused error // what writing the answer said
}

// pause lets start return, and waits for finish.
func (v *visit) pause() {
	v.enter.Do(func() { close(v.entered) })
	select {
	case <-v.resumed:
	case <-v.b.st.p.ctx.Done():
	}
}

// start sends a request to a server, with the cookie that the browser has now. It returns when the handler pauses or
// has ended.
func (b *browser) start(m *session.Manager, handle func(v *visit, s *session.Session)) *visit {
	v := &visit{b: b, w: httptest.NewRecorder(),
		entered: make(chan struct{}), resumed: make(chan struct{}), ended: make(chan struct{})}
	r := httptest.NewRequestWithContext(b.st.p.ctx, "GET", "/", nil)
	if c := b.holds(); c != "" {
		r.AddCookie(&http.Cookie{Name: "session", Value: c})
	}
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.r = r
		handle(v, session.From(r))
		_, v.refused = w.Write([]byte("handled"))
	}))
	go func() {
		defer close(v.ended)
		defer v.enter.Do(func() { close(v.entered) })
		defer b.st.p.recover()
		h.ServeHTTP(v.w, r)
	}()
	<-v.entered
	return v
}

// finish lets the handler go on, and gives the browser the answer.
func (v *visit) finish() *visit {
	v.resume.Do(func() { close(v.resumed) })
	<-v.ended
	for _, c := range v.w.Result().Cookies() {
		v.b.takes(c)
	}
	return v
}

func (b *browser) holds() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cookie
}

func (b *browser) takes(c *http.Cookie) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cookie = ""
	if c.MaxAge >= 0 {
		b.cookie = c.Value
		b.had = append(b.had, c.Value)
	}
}

// do is a request from beginning to end, which has to work.
func (b *browser) do(m *session.Manager, change func(s *session.Session)) *visit {
	b.st.p.Helper()
	v := b.start(m, func(_ *visit, s *session.Session) { change(s) }).finish()
	v.code(http.StatusOK, "a request that nothing disturbs")
	return v
}

// code reports unless the answer has that status, or is unspoiled.
func (v *visit) code(want int, what string) {
	p := v.b.st.p
	p.Helper()
	if v.w.Code != want {
		p.Errorf("%s: got status %d, want %d", what, v.w.Code, want)
	}
	if ok := v.w.Body.String() == "handled"; ok != (want == http.StatusOK) {
		p.Errorf("%s: got the answer %q with status %d", what, v.w.Body, v.w.Code)
	}
}

// silent reports if the answer sets a cookie.
func (v *visit) silent(what string) {
	v.b.st.p.Helper()
	if n := len(v.w.Result().Cookies()); n != 0 {
		v.b.st.p.Errorf("%s: the answer has %d Set-Cookie, want none", what, n)
	}
}

// content is what a session holds. All values in these clauses are numbers.
type content struct {
	principal string
	values    map[string]int
}

func (c content) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "principal %t", c.principal != "")
	for _, k := range slices.Sorted(maps.Keys(c.values)) {
		fmt.Fprintf(&b, ", %s=%d", k, c.values[k])
	}
	return b.String()
}

func (c content) equal(d content) bool {
	return c.principal == d.principal && maps.Equal(c.values, d.values)
}

func (c content) empty() bool { return c.principal == "" && len(c.values) == 0 }

func read(s *session.Session) content {
	c := content{s.Principal(), map[string]int{}}
	for _, k := range s.Keys() {
		c.values[k], _ = session.Key[int](k).Get(s)
	}
	return c
}

// shows returns what a request with that cookie sees. It must not get another cookie.
func (st *site) shows(m *session.Manager, cookie string) (c content) {
	st.p.Helper()
	b := &browser{st: st, cookie: cookie}
	b.do(m, func(s *session.Session) { c = read(s) }).silent("a request that only reads")
	return c
}

// holding reports unless every server shows what is wanted to a browser.
func (b *browser) holding(want content, what string) {
	b.st.p.Helper()
	for _, m := range b.st.servers {
		if got := b.st.shows(m, b.holds()); !got.equal(want) {
			b.st.p.Errorf("%s: the browser's session has %v, want %v", what, got, want)
			return
		}
	}
}

// dead reports if any cookie that the browser ever had still gives a session.
func (b *browser) dead(what string) {
	b.st.p.Helper()
	for i, cookie := range b.had {
		for _, m := range b.st.servers {
			if got := b.st.shows(m, cookie); !got.empty() {
				b.st.p.Errorf("%s: cookie %d of %d gives a session again: %v", what, i+1, len(b.had), got)
				return
			}
		}
	}
}

// set stores a value and Update adds to it, under names that clauses choose.
func set(s *session.Session, name string, n int) { session.Key[int](name).Set(s, n) }

func add(s *session.Session, name string) {
	session.Key[int](name).Update(s, func(n int) int { return n + 1 })
}

// list collects a listing of sessions, which has to work.
func (st *site) list(seq iter.Seq2[session.Info, error]) (infos []session.Info) {
	st.p.Helper()
	for i, err := range seq {
		st.p.ok(err, "Sessions")
		infos = append(infos, i)
	}
	return infos
}
