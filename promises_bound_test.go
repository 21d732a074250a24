package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// P9: MaxBytes counts the encoded session: exactly so many are kept, one more is the request's failure, names the
// longest of the values that were changed, and leaves everything as it was.
func TestP9MaxBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, maxBytes)
}

func maxBytes(t *testing.T) {
	const bound = 1000
	text := session.Key[string]("text")
	fit := strings.Repeat("x", bound-len(`{"text":""}`))
	var log bytes.Buffer
	m := server(t, func(c *session.Config) {
		c.MaxBytes, c.Logger = bound, slog.New(slog.NewTextHandler(&log, nil))
	})
	for _, exists := range []bool{false, true} {
		c := newVisitor(t)
		if exists {
			c.do(m, func(s *session.Session) { text.Set(s, "before") })
		}
		before := c.sees(m)
		for name, change := range map[string]func(s *session.Session){
			"Set":    func(s *session.Session) { s.Set("a", 1); text.Set(s, fit); s.SetLabel("x") },
			"Update": func(s *session.Session) { text.Update(s, func(string) string { return fit + "x" }) },
			"Login":  func(s *session.Session) { s.Login("ann"); text.Set(s, fit+"x") },
			"Renew":  func(s *session.Session) { s.Renew(); text.Set(s, fit+"x") },
			"Flash": func(s *session.Session) {
				s.Set("text", strings.Repeat("x", 600))
				s.Flash(strings.Repeat("y", 600))
			},
		} {
			log.Reset()
			time.Sleep(time.Second) // each kind of failure is logged once in a second
			res := c.try(m, change)
			what := fmt.Sprintf("%s (a session before: %t)", name, exists)
			check(t, what+": status", res.StatusCode, http.StatusInternalServerError)
			silent(t, what, res)
			c.want([]*session.Manager{m}, what, before)
			key := map[bool]string{true: "_flashes", false: "text"}[name == "Flash"]
			if line := log.String(); !strings.Contains(line, fmt.Sprintf(`key \"%s\"`, key)) ||
				strings.Contains(line, "xxxx") {
				t.Errorf("%s: got the log %.300q, want the key and no value", what, line)
			}
		}
		c.do(m, func(s *session.Session) { text.Set(s, fit) })
		c.want([]*session.Manager{m}, "as long as may be", ": [text="+fit+"]")
	}
}

// P9: the handler can still make room after a Save that was refused.
func TestP9MaxBytesMended(t *testing.T) {
	t.Parallel()
	m, c := server(t, func(c *session.Config) { c.MaxBytes = 100 }), newVisitor(t)
	c.do(m, func(s *session.Session) {
		s.Set("a", strings.Repeat("x", 200))
		is(t, "Save", s.Save(t.Context()), session.ErrTooLarge)
		is(t, "Err", s.Err(), session.ErrTooLarge)
		s.Set("a", "short")
		is(t, "Save again", s.Save(t.Context()), nil)
		is(t, "Err", s.Err(), nil)
	})
	c.want([]*session.Manager{m}, "afterwards", ": [a=short]")
}

// attempts are the requests that write; logout and take are among them.
var attempts = map[string]func(s *session.Session){
	"Set":    func(s *session.Session) { s.Set("a", 2) },
	"Update": func(s *session.Session) { total.Update(s, plus(1)) },
	"Renew":  (*session.Session).Renew,
	"Login":  func(s *session.Session) { s.Login("ben") },
	"Logout": (*session.Session).Logout,
	"Take":   func(s *session.Session) { code.Take(context.Background(), s); s.Set("a", 2) },
}

// P9: a store that conflicts for ever is given up after a bounded number of calls, in bounded time.
func TestP9EndlessConflicts(t *testing.T) {
	t.Parallel()
	for name, attempt := range attempts {
		synctest.Test(t, func(t *testing.T) {
			spy := newSpy()
			m := server(t, func(c *session.Config) { c.Store = spy })
			c := newVisitor(t)
			c.do(m, func(s *session.Session) { s.Login("ann"); s.Set("a", 1); code.Set(s, "x") })
			before := c.sees(m)
			spy.took()
			began := time.Now()
			spy.fail(func(op string) error {
				if op == "replace" {
					return store.ErrConflict
				}
				return nil
			}, nil)
			res := c.try(m, attempt)
			spy.fail(nil, nil)
			check(t, name+": status", res.StatusCode, http.StatusServiceUnavailable)
			silent(t, name, res)
			if n, d := len(spy.took()), time.Since(began); n > 270 || d > 6*time.Second {
				t.Errorf("%s: got %d calls in %v, want at most 2 for each of 64 attempts of 2 saves, "+
					"in the StoreTimeout", name, n, d)
			}
			c.want([]*session.Manager{m}, name+": afterwards", before)
		})
	}
}

// P9: other writers that are always faster are given up on too, and the error says that nothing was changed.
func TestP9AlwaysOvertaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mem := memstore.New(nil)
		m := server(t, func(c *session.Config) { c.Store = &overtaking{mem, math.MaxInt} })
		c := newVisitor(t)
		c.do(m, func(s *session.Session) { s.Set("a", 1) })
		v := c.start(m, func(v *visit, s *session.Session) {
			s.Set("a", 2)
			is(t, "Save", s.Save(t.Context()), session.ErrUnavailable)
		})
		check(t, "status", v.finish().StatusCode, http.StatusServiceUnavailable)
		c.want([]*session.Manager{m}, "afterwards", ": [a=1]")
	})
}

// overtaking is a store in which somebody else writes just before each Replace.
type overtaking struct {
	store.Store
	left int // how often it does so
}

func (o *overtaking) Replace(ctx context.Context, r store.Record, version uint64) error {
	if o.left == 0 {
		return o.Store.Replace(ctx, r, version)
	}
	o.left--
	now, err := o.Load(ctx, r.Key)
	if err == nil {
		was := now.Version
		now.Version ^= 1 << 40
		err = o.Store.Replace(ctx, now, was)
	}
	return errors.Join(err, o.Store.Replace(ctx, r, version))
}

// hanging is a store whose calls, of the named operation, end with their context.
type hanging struct {
	store.Store
	op string
}

func (h *hanging) wait(ctx context.Context, op string) error {
	if h.op != op && h.op != "all" {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (h *hanging) Load(ctx context.Context, key string) (store.Record, error) {
	if err := h.wait(ctx, "load"); err != nil {
		return store.Record{}, err
	}
	return h.Store.Load(ctx, key)
}

func (h *hanging) Create(ctx context.Context, r store.Record) error {
	return errors.Join(h.wait(ctx, "create"), h.Store.Create(ctx, r))
}

func (h *hanging) Replace(ctx context.Context, r store.Record, version uint64) error {
	return errors.Join(h.wait(ctx, "replace"), h.Store.Replace(ctx, r, version))
}

func (h *hanging) Touch(ctx context.Context, key string, version uint64, seen, expires time.Time) error {
	return errors.Join(h.wait(ctx, "touch"), h.Store.Touch(ctx, key, version, seen, expires))
}

func (h *hanging) Delete(ctx context.Context, key string) error {
	return errors.Join(h.wait(ctx, "delete"), h.Store.Delete(ctx, key))
}

// P9: a store that hangs holds a request up for StoreTimeout, whichever call hangs, and no longer.
func TestP9HangingStore(t *testing.T) {
	t.Parallel()
	const timeout = 3 * time.Second
	for name, attempt := range attempts {
		for _, op := range []string{"load", "create", "replace", "delete", "all"} {
			synctest.Test(t, func(t *testing.T) {
				h := &hanging{Store: memstore.New(nil)}
				m := server(t, func(c *session.Config) { c.Store, c.StoreTimeout = h, timeout })
				c := newVisitor(t)
				c.do(m, func(s *session.Session) { s.Login("ann"); s.Set("a", 1); code.Set(s, "x") })
				began := time.Now()
				v := c.start(m, func(v *visit, s *session.Session) {
					v.pause()
					attempt(s)
				})
				h.op = op
				hangs := v.finish()
				took := time.Since(began)
				h.op = ""
				most := timeout
				if name == "Take" {
					most *= 2 // it saves at once, and the response saves again
				}
				if took > most {
					t.Errorf("%s, %s hangs: it took %v, want at most %v", name, op, took, most)
				}
				if fails := took >= timeout; fails != (hangs.StatusCode == http.StatusServiceUnavailable) &&
					op != "delete" && name != "Take" {
					t.Errorf("%s, %s hangs: got status %d after %v", name, op, hangs.StatusCode, took)
				}
			})
		}
	}
}

// P9: so does a load, and requests that wait for another save of their session.
func TestP9HangingLoadAndQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{Store: memstore.New(nil)}
		m := server(t, func(c *session.Config) { c.Store = h })
		c := newVisitor(t)
		c.do(m, fill)
		h.op = "load"
		began := time.Now()
		check(t, "load: status", c.try(m, read).StatusCode, http.StatusServiceUnavailable)
		check(t, "load: time", time.Since(began), 5*time.Second)

		h.op = ""
		began = time.Now()
		var queue []*visit
		for i := range 20 {
			queue = append(queue, c.start(m, func(v *visit, s *session.Session) {
				v.pause()
				s.Set("b", i)
			}))
		}
		h.op = "replace"
		var wg sync.WaitGroup
		for _, v := range queue {
			wg.Go(func() { check(t, "queue: status", v.finish().StatusCode, http.StatusServiceUnavailable) })
		}
		wg.Wait()
		check(t, "queue: time", time.Since(began), 5*time.Second)
		h.op = ""
		c.want([]*session.Manager{m}, "afterwards", ": [a=1]")
	})
}

// P9: a chain of renewals within Grace is followed for eight steps, and then is an outage, not a logout.
func TestP9ChainsOfRenewals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, c := server(t), newVisitor(t)
		c.do(m, fill)
		first := c.copy()
		for i := range 8 {
			c.do(m, (*session.Session).Renew)
			first.want([]*session.Manager{m}, fmt.Sprint("the first cookie after renewal ", i+1), ": [a=1]")
		}
		c.do(m, (*session.Session).Renew)
		res := first.copy().try(m, read)
		check(t, "after nine: status", res.StatusCode, http.StatusServiceUnavailable)
		silent(t, "after nine", res)
		c.want([]*session.Manager{m}, "the last cookie", ": [a=1]")
		time.Sleep(3 * minute)
		first.want([]*session.Manager{m}, "the first cookie after Grace", nothing)
		c.want([]*session.Manager{m}, "the last cookie after Grace", ": [a=1]")
	})
}

// spoil changes the record of the visitor's session.
func spoil(t *testing.T, mem *memstore.Store, change func(r *store.Record)) {
	t.Helper()
	for r, err := range mem.All(t.Context()) {
		is(t, "All", err, nil)
		r, err = mem.Load(t.Context(), r.Key)
		is(t, "Load", err, nil)
		was := r.Version
		r.Version ^= 1 << 40
		change(&r)
		is(t, "Replace", mem.Replace(t.Context(), r, was), nil)
	}
}

// P10: a record that can't be decoded is a session that ended: reported once, and in nobody's way.
func TestP10UndecodableRecords(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(r *store.Record){
		"cut off":     func(r *store.Record) { r.Data = r.Data[:len(r.Data)-1] },
		"not JSON":    func(r *store.Record) { r.Data = []byte("\x80\x04\x95\x10") },
		"no object":   func(r *store.Record) { r.Data = []byte(`["a"]`) },
		"deep":        func(r *store.Record) { r.Data = bytes.Repeat([]byte(`{"a":`), 100_000) },
		"an odd kind": func(r *store.Record) { r.Kind = 77 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var events eventLog
			mem := memstore.New(nil)
			ms := servers(t, 2, func(c *session.Config) { c.Store, c.OnEvent = mem, events.add })
			c := newVisitor(t)
			c.do(ms[0], fill)
			spoil(t, mem, change)
			events.took()
			for i := range 4 {
				c.want(ms[i%2:i%2+1], "contents", nothing)
			}
			check(t, "reports", count(events.took(), "undecodable"), 1)
			_, err := ms[0].Load(t.Context(), c.value())
			is(t, "Load", err, session.ErrEnded)
			c.do(ms[1], func(s *session.Session) { s.Login("ann"); s.Set("a", 2) })
			c.want(ms, "after a login", "ann: [a=2]")
		})
	}
}

// P10: the request that finds it can begin anew at once, and so can every request while it can't be removed.
func TestP10UndecodableRecordsThatStay(t *testing.T) {
	t.Parallel()
	mem := memstore.New(nil)
	spy := &spyStore{Store: mem}
	m, c := server(t, func(c *session.Config) { c.Store = spy }), newVisitor(t)
	c.do(m, fill)
	spoil(t, mem, func(r *store.Record) { r.Data = []byte("{") })
	spy.fail(down("replace"), nil)
	c.want([]*session.Manager{m}, "it can't be removed", nothing)
	c.do(m, func(s *session.Session) { s.Set("b", 1) })
	c.want([]*session.Manager{m}, "a new session", ": [b=1]")
}

// P10: one value that can't be decoded is one value's problem.
func TestP10UndecodableValues(t *testing.T) {
	t.Parallel()
	var events eventLog
	mem := memstore.New(nil)
	m := server(t, func(c *session.Config) { c.Store, c.OnEvent = mem, events.add })
	for _, bad := range []string{`tru`, `"\q"`, `1e999`, `{"x":}`, `[1,]`, `-`} {
		c := newVisitor(t)
		c.do(m, func(s *session.Session) { s.Set("bad", 1); s.Set("good", 2) })
		spoil(t, mem, func(r *store.Record) { r.Data = fmt.Appendf(nil, `{"bad":%s,"good":2}`, bad) })
		events.took()
		c.do(m, func(s *session.Session) {
			v, ok := session.Key[int]("bad").Get(s)
			check(t, bad+": typed", fmt.Sprint(v, ok), "0 false")
			check(t, bad+": the other", session.Key[int]("good").Or(s, 0), 2)
		})
		check(t, bad+": reports", count(events.took(), "undecodable"), 1)
		c.do(m, func(s *session.Session) { s.Set("bad", 3) })
		c.want([]*session.Manager{m}, bad+", set anew", ": [bad=3 good=2]")
		c.do(m, (*session.Session).Logout)
		for r := range mem.All(t.Context()) {
			mem.Delete(t.Context(), r.Key)
		}
	}
}
