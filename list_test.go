package session_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

// device returns a visitor who is logged in, and the session's handle.
func device(t testing.TB, m *session.Manager, principal, label string) (c *visitor, handle string) {
	t.Helper()
	c = newVisitor(t)
	c.do(m, func(s *session.Session) {
		s.Login(principal)
		s.SetLabel(label)
		handle = s.Info().Handle
	})
	return c, handle
}

// labels returns the labels of a listing, sorted.
func labels(t testing.TB, seq iter.Seq2[session.Info, error]) []string {
	t.Helper()
	list := []string{}
	for i, err := range seq {
		is(t, "listing", err, nil)
		list = append(list, i.Label)
	}
	slices.Sort(list)
	return list
}

func TestSessions(t *testing.T) {
	t.Parallel()
	ms := servers(t, 2)
	phone, phoneHandle := device(t, ms[0], "ann", "phone")
	device(t, ms[1], "ann", "laptop")
	desk, _ := device(t, ms[0], "ann", "desk")
	ended, _ := device(t, ms[0], "ann", "ended")
	device(t, ms[0], "ben", "other")
	newVisitor(t).do(ms[0], func(s *session.Session) { s.Set("a", 1); s.SetLabel("anonymous") })
	phone.do(ms[1], (*session.Session).Renew)
	desk.do(ms[1], func(s *session.Session) { s.Login("ann") }) // leaves a tombstone
	ended.do(ms[1], (*session.Session).Logout)

	for _, m := range ms {
		equal(t, "ann's", labels(t, m.Sessions(t.Context(), "ann")), []string{"desk", "laptop", "phone"})
		equal(t, "ben's", labels(t, m.Sessions(t.Context(), "ben")), []string{"other"})
		equal(t, "nobody's", labels(t, m.Sessions(t.Context(), "")), []string{})
		equal(t, "a stranger's", labels(t, m.Sessions(t.Context(), "cid")), []string{})
		equal(t, "all", labels(t, m.All(t.Context())), []string{"anonymous", "desk", "laptop", "other", "phone"})
	}
	for i, err := range ms[0].Sessions(t.Context(), "ann") {
		is(t, "Sessions", err, nil)
		check(t, "principal", i.Principal, "ann")
		if i.Label == "phone" {
			check(t, "handle", i.Handle, phoneHandle)
			var own session.Info
			phone.do(ms[0], func(s *session.Session) { own = s.Info() })
			check(t, "what the session says of itself", own, i)
		}
	}
	n := 0
	for range ms[0].Sessions(t.Context(), "ann") {
		n++
		break
	}
	check(t, "a loop that ends early", n, 1)
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	var events eventLog
	ms := servers(t, 2, func(c *session.Config) { c.OnEvent = events.add })
	phone, handle := device(t, ms[0], "ann", "phone")
	laptop, _ := device(t, ms[0], "ann", "laptop")
	ben, bens := device(t, ms[0], "ben", "")
	phone.do(ms[0], (*session.Session).Renew) // the handle stays
	events.took()

	for name, wrong := range map[string][2]string{
		"another principal's": {"ann", bens}, "under another principal": {"ben", handle}, "of nobody": {"", handle},
		"unknown": {"ann", "x"}, "empty": {"ann", ""},
	} {
		is(t, name, ms[1].Revoke(t.Context(), wrong[0], wrong[1]), session.ErrEnded)
	}
	equal(t, "events of refusals", events.took(), []string{})
	phone.want(ms, "before", "ann: []")

	is(t, "Revoke", ms[1].Revoke(t.Context(), "ann", handle), nil)
	equal(t, "events", events.took(), []string{"revoked"})
	phone.want(ms, "the revoked session", nothing)
	laptop.want(ms, "another device", "ann: []")
	ben.want(ms, "another user", "ben: []")
	is(t, "Revoke again", ms[0].Revoke(t.Context(), "ann", handle), session.ErrEnded)
}

// The body of a loop over sessions may revoke them.
func TestRevokeWithinTheLoop(t *testing.T) {
	t.Parallel()
	m := server(t)
	for i := range 20 {
		device(t, m, "ann", fmt.Sprint(i))
	}
	for i, err := range m.Sessions(t.Context(), "ann") {
		is(t, "Sessions", err, nil)
		if i.Label != "7" {
			is(t, "Revoke", m.Revoke(t.Context(), "ann", i.Handle), nil)
		}
	}
	equal(t, "left", labels(t, m.Sessions(t.Context(), "ann")), []string{"7"})
}

func TestRevokeAll(t *testing.T) {
	t.Parallel()
	ms := servers(t, 2)
	var anns []*visitor
	for i := range 5 {
		c, _ := device(t, ms[i%2], "ann", "")
		anns = append(anns, c)
	}
	anns[0].do(ms[1], (*session.Session).Renew)
	anns[1].do(ms[1], func(s *session.Session) { s.Login("ann") })
	anns[2].do(ms[1], (*session.Session).Logout)
	anns[3].do(ms[1], func(s *session.Session) { s.Login("ben") }) // ann's tombstone leads to ben's session
	n, err := ms[0].RevokeAll(t.Context(), "ann")
	is(t, "RevokeAll", err, nil)
	check(t, "ended", n, 3)
	for i, c := range anns {
		c.want(ms, fmt.Sprint("device ", i), map[bool]string{true: "ben: []", false: nothing}[i == 3])
	}
	n, err = ms[0].RevokeAll(t.Context(), "ann")
	check(t, "again", fmt.Sprint(n, err), "0 <nil>")
	n, err = ms[0].RevokeAll(t.Context(), "")
	check(t, "of nobody", fmt.Sprint(n, err), "0 <nil>")
}

// scripted is a store that lists what it is told, one record after another.
type scripted struct {
	store.Store
	records func(yield func(store.Record, error) bool)
}

func (s *scripted) Principal(context.Context, string) iter.Seq2[store.Record, error] {
	return s.records
}
func (s *scripted) All(context.Context) iter.Seq2[store.Record, error] { return s.records }

// A renewal during the listing can put the new record where the listing has already been: the tombstone leads there.
func TestRevokeAllFollowsTombstones(t *testing.T) {
	t.Parallel()
	for name, move := range map[string]func(s *session.Session){
		"renewed": (*session.Session).Renew, "logged in again": func(s *session.Session) { s.Login("ann") },
	} {
		mem := memstore.New(nil)
		list := &scripted{Store: mem}
		m := server(t, func(c *session.Config) { c.Store = list })
		c, _ := device(t, m, "ann", "")
		var first store.Record
		for r := range mem.Principal(t.Context(), "ann") {
			first = r
		}
		list.records = func(yield func(store.Record, error) bool) {
			c.do(m, move)
			r, err := mem.Load(t.Context(), first.Key) // a tombstone by now; what it leads to is not listed
			yield(r, err)
		}
		n, err := m.RevokeAll(t.Context(), "ann")
		check(t, name+": RevokeAll", fmt.Sprint(n, err), "1 <nil>")
		c.want([]*session.Manager{m}, name, nothing)
	}
}

// What was listed as live may have moved by the time it is ended.
func TestRevokeFollowsRenewals(t *testing.T) {
	t.Parallel()
	mem := memstore.New(nil)
	list := &scripted{Store: mem}
	m := server(t, func(c *session.Config) { c.Store = list })
	c, handle := device(t, m, "ann", "")
	list.records = func(yield func(store.Record, error) bool) {
		for r, err := range mem.Principal(t.Context(), "ann") {
			c.do(m, (*session.Session).Renew)
			yield(r, err)
			return
		}
	}
	is(t, "Revoke", m.Revoke(t.Context(), "ann", handle), nil)
	c.want([]*session.Manager{m}, "afterwards", nothing)
}

func TestRevokeOthers(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(s *session.Session){
		"as it is":        read,
		"with changes":    func(s *session.Session) { s.Set("a", 1) },
		"renewed":         (*session.Session).Renew,
		"logged in again": func(s *session.Session) { s.Login("ann") },
	} {
		ms := servers(t, 2)
		c, _ := device(t, ms[0], "ann", "this")
		c.do(ms[0], (*session.Session).Renew)
		c.do(ms[1], func(s *session.Session) { s.Login("ann"); s.SetLabel("this") })
		other, _ := device(t, ms[1], "ann", "other")
		third, _ := device(t, ms[1], "ann", "third")
		ben, _ := device(t, ms[0], "ben", "")
		c.do(ms[0], func(s *session.Session) {
			before(s)
			n, err := s.RevokeOthers(t.Context())
			check(t, name+": RevokeOthers", fmt.Sprint(n, err), "2 <nil>")
			check(t, name+": principal", s.Principal(), "ann")
		})
		c.do(ms[1], func(s *session.Session) { check(t, name+": this device", s.Principal(), "ann") })
		other.want(ms, name+": another device", nothing)
		third.want(ms, name+": a third device", nothing)
		ben.want(ms, name+": another user", "ben: []")
		equal(t, name+": left", labels(t, ms[0].Sessions(t.Context(), "ann")), []string{"this"})
	}
}

func TestRevokeOthersWithoutOthers(t *testing.T) {
	t.Parallel()
	m := server(t)
	ann, _ := device(t, m, "ann", "")
	newVisitor(t).do(m, func(s *session.Session) {
		n, err := s.RevokeOthers(t.Context())
		check(t, "of a new session", fmt.Sprint(n, err), "0 <nil>")
		s.Set("a", 1)
		n, err = s.RevokeOthers(t.Context())
		check(t, "of an anonymous session", fmt.Sprint(n, err), "0 <nil>")
	})
	ann.want([]*session.Manager{m}, "somebody else", "ann: []")
	c := newVisitor(t)
	c.do(m, func(s *session.Session) {
		s.Login("ann")
		n, err := s.RevokeOthers(t.Context())
		check(t, "of a first login", fmt.Sprint(n, err), "1 <nil>")
	})
	c.want([]*session.Manager{m}, "the first login", "ann: []")
	slow := c.start(m, func(v *visit, s *session.Session) {
		v.pause()
		_, err := s.RevokeOthers(t.Context())
		is(t, "of a session without changes that ended", err, session.ErrEnded)
		s.Set("a", 1)
		_, err = s.RevokeOthers(t.Context())
		is(t, "of a session that ended", err, session.ErrEnded)
	})
	c.do(m, (*session.Session).Logout)
	slow.finish()
}

// A store without an index, and a cookie, say so.
func TestListingIsUnsupported(t *testing.T) {
	t.Parallel()
	for name, option := range map[string]func(*session.Config){"store": func(*session.Config) {}, "cookie": encrypted} {
		b := newBench(t, option)
		for list, seq := range map[string]iter.Seq2[session.Info, error]{
			"Sessions": b.Sessions(t.Context(), "ann"), "All": b.All(t.Context()),
		} {
			n := 0
			for i, err := range seq {
				n++
				check(t, name+": "+list, i, session.Info{})
				is(t, name+": "+list, err, errors.ErrUnsupported)
			}
			check(t, name+": "+list, n, 1)
		}
		is(t, name+": Revoke", b.Revoke(t.Context(), "ann", "x"), errors.ErrUnsupported)
		n, err := b.RevokeAll(t.Context(), "ann")
		check(t, name+": RevokeAll", n, 0)
		is(t, name+": RevokeAll", err, errors.ErrUnsupported)
		s := load(t, b.Manager, "")
		s.Login("ann")
		_, err = s.RevokeOthers(t.Context())
		is(t, name+": RevokeOthers", err, errors.ErrUnsupported)
	}
}

func TestListingErrors(t *testing.T) {
	t.Parallel()
	fail := &sessiontest.FailStore{Store: memstore.New(nil)}
	m := server(t, func(c *session.Config) { c.Store = fail })
	c, handle := device(t, m, "ann", "")
	fail.Fail(errDown)
	for i, err := range m.Sessions(t.Context(), "ann") {
		check(t, "Sessions", i, session.Info{})
		is(t, "Sessions", err, session.ErrUnavailable)
	}
	is(t, "Revoke", m.Revoke(t.Context(), "ann", handle), session.ErrUnavailable)
	n, err := m.RevokeAll(t.Context(), "ann")
	check(t, "RevokeAll", n, 0)
	is(t, "RevokeAll", err, session.ErrUnavailable)
	fail.Fail(nil)
	c.want([]*session.Manager{m}, "after the outage", "ann: []")
}

// An outage in the middle says how many sessions were ended, and that more may be.
func TestRevokeAllInAnOutage(t *testing.T) {
	t.Parallel()
	fail := &sessiontest.FailStore{Store: memstore.New(nil)}
	list := &scripted{Store: fail}
	m := server(t, func(c *session.Config) { c.Store = list })
	for range 4 {
		device(t, m, "ann", "")
	}
	records := slices.Collect(func(yield func(store.Record) bool) {
		for r := range fail.Principal(t.Context(), "ann") {
			yield(r)
		}
	})
	list.records = func(yield func(store.Record, error) bool) {
		for i, r := range records {
			if i == 2 {
				fail.Fail(errDown)
			}
			if !yield(r, nil) {
				return
			}
		}
	}
	n, err := m.RevokeAll(t.Context(), "ann")
	check(t, "ended before", n, 2)
	is(t, "RevokeAll", err, session.ErrUncertain)
	fail.Fail(nil)
	list.records = fail.Principal(t.Context(), "ann")
	n, err = m.RevokeAll(t.Context(), "ann")
	check(t, "called again", fmt.Sprint(n, err), "2 <nil>")
}

// lateStore loses the answer of the first Replace and applies that when the next one comes.
type lateStore struct {
	store.Store
	store.Lister
	late func() error
}

func (s *lateStore) Replace(ctx context.Context, rec store.Record, version uint64) error {
	call := func() error { return s.Store.Replace(ctx, rec, version) }
	if s.late == nil {
		s.late = call
		return errDown
	}
	if err := s.late(); err != nil {
		return err
	}
	return call()
}

// A Revoke whose first attempt was applied late has ended the session, though its second attempt met a conflict.
func TestRevokeArrivesLate(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Revoke", "RevokeAll"} {
		mem := memstore.New(nil)
		m := server(t, func(c *session.Config) { c.Store = &lateStore{Store: mem, Lister: mem} })
		c, handle := device(t, m, "ann", "")
		if method == "Revoke" {
			is(t, method, m.Revoke(t.Context(), "ann", handle), nil)
		} else {
			n, err := m.RevokeAll(t.Context(), "ann")
			check(t, method, fmt.Sprint(n, err), "1 <nil>")
		}
		c.want([]*session.Manager{m}, method, nothing)
	}
}

// A listing that takes longer than tombstones live may have missed a session.
func TestRevokeAllTakesTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		list := &scripted{Store: memstore.New(nil)}
		m := server(t, func(c *session.Config) { c.Store = list })
		list.records = func(func(store.Record, error) bool) { time.Sleep(3 * minute) }
		_, err := m.RevokeAll(t.Context(), "ann")
		is(t, "a slow listing", err, session.ErrUncertain)
		m.Close()
	})
}

// stallingStore takes a while for each write. It stops to answer for good after the given number of them.
type stallingStore struct {
	store.Store
	store.Lister
	takes  time.Duration
	writes atomic.Int64 // that it still answers
}

func (s *stallingStore) Replace(ctx context.Context, rec store.Record, version uint64) error {
	if s.writes.Add(-1) < 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	time.Sleep(s.takes)
	return s.Store.Replace(ctx, rec, version)
}

// devices makes many sessions of a principal in a store whose every write takes 5 ms.
func devices(t *testing.T, n int, options ...func(*session.Config)) (*session.Manager, *stallingStore) {
	mem := memstore.New(nil)
	slow := &stallingStore{Store: mem, Lister: mem, takes: 5 * time.Millisecond}
	slow.writes.Store(1 << 40)
	m := server(t, append(options, func(c *session.Config) { c.Store = slow })...)
	for range n {
		s := load(t, m, "")
		s.Login("ann")
		is(t, "Save", s.Save(t.Context()), nil)
	}
	return m, slow
}

func listed(t *testing.T, seq iter.Seq2[session.Info, error]) (n int) {
	for _, err := range seq {
		is(t, "listing", err, nil)
		n++
	}
	return n
}

// Many sessions end concurrently: one after the other 10,000 would take 50 seconds here, and StoreTimeout is 5.
func TestRevokeAllAtOnce(t *testing.T) {
	t.Parallel()
	for name, revoke := range map[string]func(*session.Manager) (int, error){
		"RevokeAll":  func(m *session.Manager) (int, error) { return m.RevokeAll(t.Context(), "ann") },
		"RevokeFunc": func(m *session.Manager) (int, error) { return m.RevokeFunc(t.Context(), everyone) },
	} {
		synctest.Test(t, func(t *testing.T) {
			m, _ := devices(t, 10_000)
			defer m.Close()
			began := time.Now()
			n, err := revoke(m)
			check(t, name, fmt.Sprint(n, err), "10000 <nil>")
			if took := time.Since(began); took > time.Second {
				t.Errorf("%s: 10,000 sessions took %v, want 0.8 s", name, took)
			}
			check(t, name+": left", listed(t, m.Sessions(t.Context(), "ann")), 0)
		})
	}
}

// A store that stops to answer in the middle: the call ends in time, says how many sessions it has ended, and can be
// called again.
func TestRevokeAllStopsInTheMiddle(t *testing.T) {
	t.Parallel()
	for _, answered := range []int64{0, 3, 500} {
		synctest.Test(t, func(t *testing.T) {
			m, slow := devices(t, 1000)
			defer m.Close()
			slow.writes.Store(answered)
			began := time.Now()
			n, err := m.RevokeAll(t.Context(), "ann")
			is(t, "RevokeAll", err, session.ErrUncertain)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v, StoreTimeout is 5 s", took)
			}
			slow.writes.Store(1 << 40)
			left := listed(t, m.Sessions(t.Context(), "ann"))
			check(t, "ended and left", n+left, 1000)
			check(t, "ended", int64(n), answered)
			if text := fmt.Sprintf("%d sessions had been ended", n); !strings.Contains(err.Error(), text) {
				t.Errorf("got error %q, want %q in it", err, text)
			}
			n, err = m.RevokeAll(t.Context(), "ann")
			check(t, "again", fmt.Sprint(n, err), fmt.Sprint(left, " <nil>"))
		})
	}
}

// batches is a store that ends several sessions by one call, which may go wrong.
type batches struct {
	store.Store
	calls        atomic.Int64
	before, lost error
	between      func() // the listing and the call
}

func (b *batches) ReplaceBatch(ctx context.Context, recs []store.Record, versions []uint64) ([]bool, error) {
	b.calls.Add(1)
	if b.between != nil {
		b.between()
	}
	if b.before != nil {
		return nil, b.before
	}
	replaced := make([]bool, len(recs))
	for i := range recs {
		replaced[i] = b.Replace(ctx, recs[i], versions[i]) == nil
	}
	return replaced, b.lost
}

func (b *batches) Unwrap() store.Store { return b.Store }

// Where the store can, one call ends many sessions. Whatever becomes of it, all are ended and each is counted once.
func TestRevokeAllByBatches(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ before, lost error }{
		"fine":        {},
		"lost answer": {lost: errDown},
		"refused":     {before: errDown},
		"unsupported": {before: errors.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			events := 0
			b := &batches{Store: memstore.New(nil), before: c.before, lost: c.lost}
			var mu sync.Mutex
			m, err := session.New(session.Config{SecretKey: secret, Store: b,
				OnEvent: func(_ context.Context, e session.Event) {
					mu.Lock()
					defer mu.Unlock()
					if e.Kind == session.EventRevoked {
						events++
					}
				}})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			var tokens []string
			login := func() {
				s := mustSession(t, m, "")
				s.Login("ann")
				check(t, "Save", s.Save(t.Context()), nil)
				tokens = append(tokens, s.Token())
			}
			for range 600 {
				login()
			}
			var once sync.Once
			b.between = func() { // one of them changes after it was listed
				once.Do(func() {
					for _, token := range tokens[:300] {
						s := mustSession(t, m, token)
						s.Set("a", 1)
						if err := s.Save(t.Context()); err != nil && !errors.Is(err, session.ErrEnded) {
							t.Error(err)
						}
					}
				})
			}
			n, err := m.RevokeAll(t.Context(), "ann")
			check(t, "RevokeAll", fmt.Sprint(n, err), "600 <nil>")
			check(t, "left", listed(t, m.Sessions(t.Context(), "ann")), 0)
			check(t, "calls", int(b.calls.Load()), 3)
			check(t, "events", events, 600)
			login()
			n, err = m.RevokeAll(t.Context(), "ann")
			check(t, "one more", fmt.Sprint(n, err), "1 <nil>")
			check(t, "calls", int(b.calls.Load()), 3)
		})
	}
}

// What the application's functions panic with reaches the caller, and no two calls of del overlap.
func TestRevokeFuncCallsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		panics := false
		m, _ := devices(t, 200, func(c *session.Config) {
			c.OnEvent = func(_ context.Context, e session.Event) {
				if panics && e.Kind == session.EventRevoked {
					panic("the application's")
				}
			}
		})
		defer m.Close()
		var running atomic.Int64
		n, err := m.RevokeFunc(t.Context(), func(i session.Info) bool {
			defer running.Add(-1)
			if running.Add(1) > 1 {
				t.Error("two calls of del overlap")
			}
			runtime.Gosched()
			return i.Handle < "M"
		})
		is(t, "RevokeFunc", err, nil)
		check(t, "ended some", n > 20 && n < 180, true)
		panics = true
		func() {
			defer func() { check(t, "panic", recover(), any("the application's")) }()
			_, err := m.RevokeAll(t.Context(), "ann")
			t.Error("no panic: ", err)
		}()
	})
}

func everyone(session.Info) bool { return true }

func TestRevokeFunc(t *testing.T) {
	t.Parallel()
	var events eventLog
	ms := servers(t, 2, func(c *session.Config) { c.OnEvent = events.add })
	phone, _ := device(t, ms[0], "ann", "phone")
	ben, _ := device(t, ms[0], "ben", "phone")
	anonymous := newVisitor(t)
	anonymous.do(ms[1], func(s *session.Session) { s.Set("a", 1); s.SetLabel("phone") })
	laptop, _ := device(t, ms[1], "ann", "laptop")
	phone.do(ms[0], (*session.Session).Renew) // leaves a tombstone, which has no label
	laptop.do(ms[0], (*session.Session).Renew)
	events.took()

	n, err := ms[1].RevokeFunc(t.Context(), func(i session.Info) bool {
		return i.Label == "phone" && i.Principal != "ben"
	})
	check(t, "RevokeFunc", fmt.Sprint(n, err), "2 <nil>")
	equal(t, "events", events.took(), []string{"revoked", "revoked"})
	phone.want(ms, "a user's session", nothing)
	anonymous.want(ms, "an anonymous session", nothing)
	laptop.want(ms, "another device", "ann: []")
	ben.want(ms, "another user", "ben: []")

	n, err = ms[0].RevokeFunc(t.Context(), everyone)
	check(t, "the rest", fmt.Sprint(n, err), "2 <nil>")
	n, err = ms[0].RevokeFunc(t.Context(), everyone)
	check(t, "again", fmt.Sprint(n, err), "0 <nil>")
}

// What moves while the list is read may be where the list has already been.
func TestRevokeFuncFollows(t *testing.T) {
	t.Parallel()
	for name, move := range map[string]func(s *session.Session){
		"renewed": (*session.Session).Renew, "logged in": func(s *session.Session) { s.Login("ann") },
	} {
		for _, when := range []string{"before it is listed", "when it is listed"} {
			mem := memstore.New(nil)
			list := &scripted{Store: mem}
			m := server(t, func(c *session.Config) { c.Store = list })
			c := newVisitor(t)
			c.do(m, func(s *session.Session) { s.Set("a", 1) })
			list.records = func(yield func(store.Record, error) bool) {
				for r := range mem.All(t.Context()) {
					c.do(m, move)
					if when == "before it is listed" {
						r, _ = mem.Load(t.Context(), r.Key)
					}
					yield(r, nil)
					return
				}
			}
			n, err := m.RevokeFunc(t.Context(), everyone)
			check(t, name+" "+when, fmt.Sprint(n, err), "1 <nil>")
			c.want([]*session.Manager{m}, name+" "+when, nothing)
		}
	}
}

// A request may write between the last look and the end.
func TestRevokeFuncMeetsWriter(t *testing.T) {
	t.Parallel()
	m := server(t)
	c, _ := device(t, m, "ann", "")
	asked := 0
	n, err := m.RevokeFunc(t.Context(), func(session.Info) bool {
		if asked++; asked == 2 {
			c.do(m, func(s *session.Session) { s.Set("a", 1) })
		}
		return true
	})
	check(t, "RevokeFunc", fmt.Sprint(n, err), "1 <nil>")
	c.want([]*session.Manager{m}, "afterwards", nothing)
}

func TestRevokeFuncErrors(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := b.RevokeFunc(t.Context(), everyone)
	is(t, "without a list", err, errors.ErrUnsupported)

	fail := &sessiontest.FailStore{Store: memstore.New(nil)}
	m := server(t, func(c *session.Config) { c.Store = fail })
	device(t, m, "ann", "")
	n, err := m.RevokeFunc(t.Context(), func(session.Info) bool { fail.Fail(errDown); return true })
	check(t, "ended", n, 0)
	is(t, "an outage before the end", err, session.ErrUnavailable)
	_, err = m.RevokeFunc(t.Context(), everyone)
	is(t, "an outage", err, session.ErrUnavailable)
}

// A layout may have no room for handles.
func TestInfoOfRecordWithoutHandle(t *testing.T) {
	t.Parallel()
	one, two := session.InfoOf(store.Record{Key: "one"}), session.InfoOf(store.Record{Key: "two", Principal: "ann"})
	if one.Handle == "" || one.Handle == "one" || one.Handle == two.Handle {
		t.Errorf("got handles %q and %q, want two that don't show the key", one.Handle, two.Handle)
	}
	check(t, "principal", two.Principal, "ann")
	check(t, "handle", session.InfoOf(store.Record{Key: "one", Handle: "h"}).Handle, "h")
}
