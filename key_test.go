package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store"
)

const total = session.Key[int]("total")

func plus(n int) func(int) int { return func(old int) int { return old + n } }

func TestUpdateReturnsItsResult(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	c.do(m, func(s *session.Session) {
		check(t, "first", total.Update(s, plus(2)), 2)
		check(t, "second", total.Update(s, plus(3)), 5)
		check(t, "Get", total.Or(s, 0), 5)
	})
	c.do(m, func(s *session.Session) { check(t, "next request", total.Update(s, plus(1)), 6) })
	c.do(m, func(s *session.Session) { check(t, "the one after", total.Or(s, 0), 6) })
}

// An Update that meets another request runs again on that one's value; Get then tells what became of it.
func TestUpdateRunsAgainOnConflict(t *testing.T) {
	t.Parallel()
	ms, c := servers(t, 2), newVisitor(t)
	c.do(ms[0], func(s *session.Session) { total.Set(s, 1); s.Set("other", "x") })
	var saw []int
	slow := c.start(ms[0], func(v *visit, s *session.Session) {
		check(t, "at once", total.Update(s, func(n int) int { saw = append(saw, n); return n + 10 }), 11)
		session.Key[[]string]("list").Update(s, func(l []string) []string { return append(l, "slow") })
		v.pause()
		is(t, "Save", s.Save(t.Context()), nil)
		check(t, "after Save", total.Or(s, 0), 110)
		other, _ := s.Get("other")
		check(t, "the other request's change after Save", other, any("y"))
	})
	c.do(ms[1], func(s *session.Session) {
		total.Set(s, 100)
		s.Set("other", "y")
		s.Set("list", []string{"quick"})
	})
	slow.finish()
	check(t, "fn saw first and last", fmt.Sprint(saw[0], " ", saw[len(saw)-1]), "1 100")
	c.want(ms, "after both", ": [list=[quick slow] other=y total=110]")
}

// fn may read the session, also when it runs inside of a save, and then sees what the request saw.
func TestUpdateMayCallGet(t *testing.T) {
	t.Parallel()
	ms, c := servers(t, 2), newVisitor(t)
	step := session.Key[int]("step")
	c.do(ms[0], func(s *session.Session) { total.Set(s, 1); step.Set(s, 5) })
	slow := c.start(ms[0], func(v *visit, s *session.Session) {
		total.Update(s, func(n int) int { return n + step.Or(s, 0) + s.Len() })
		v.pause()
	})
	c.do(ms[1], func(s *session.Session) { total.Set(s, 100) })
	slow.finish()
	c.want(ms, "after both", ": [step=5 total=107]")
}

// After a Set, Delete or Clear in the same request the outcome depends on nothing that is stored.
func TestUpdateIsFolded(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(s *session.Session)
		want   string
	}{
		"after Set": {func(s *session.Session) {
			total.Set(s, 1000)
			total.Update(s, plus(1))
		}, ": [other=1 total=1001]"},
		"after Delete": {func(s *session.Session) { total.Delete(s); total.Update(s, plus(7)) }, ": [other=1 total=7]"},
		"after Pop": {func(s *session.Session) {
			total.Pop(s)
			total.Update(s, plus(1))
			total.Update(s, plus(1))
		}, ": [other=1 total=2]"},
		"after Clear":  {func(s *session.Session) { s.Clear(); total.Update(s, plus(7)) }, ": [total=7]"},
		"before Set":   {func(s *session.Session) { total.Update(s, plus(1)); total.Set(s, 5) }, ": [other=1 total=5]"},
		"before Clear": {func(s *session.Session) { total.Update(s, plus(1)); s.Clear(); s.Set("x", 1) }, ": [x=1]"},
		"alone":        {func(s *session.Session) { total.Update(s, plus(1)) }, ": [other=1 total=101]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ms, c := servers(t, 2), newVisitor(t)
			c.do(ms[0], func(s *session.Session) { total.Set(s, 1) })
			slow := c.start(ms[0], func(v *visit, s *session.Session) {
				test.change(s)
				v.pause()
			})
			c.do(ms[1], func(s *session.Session) { total.Set(s, 100); s.Set("other", 1) })
			slow.finish()
			c.want(ms, "after both", test.want)
		})
	}
}

// A panic in fn goes through to whoever called: the handler, or the save. Nothing is stored, and nothing stays locked.
func TestUpdateMayPanic(t *testing.T) {
	t.Parallel()
	ms, c := servers(t, 2), newVisitor(t)
	c.do(ms[0], func(s *session.Session) { total.Set(s, 1) })

	atOnce := c.start(ms[0], func(_ *visit, s *session.Session) {
		total.Update(s, func(int) int { panic("at once") })
	})
	atOnce.finish()
	check(t, "panic in the handler", atOnce.thrown, any("at once"))

	inSave := c.start(ms[0], func(v *visit, s *session.Session) {
		s.Set("lost", 1)
		total.Update(s, func(n int) int {
			if n == 100 {
				panic("in the save")
			}
			return n + 1
		})
		v.pause()
	})
	c.do(ms[1], func(s *session.Session) { total.Set(s, 100) })
	inSave.finish()
	check(t, "panic in the save", inSave.thrown, any("in the save"))

	c.do(ms[0], func(s *session.Session) { total.Update(s, plus(1)) })
	c.want(ms, "afterwards", ": [total=101]")
}

// fn must not change the session. If it does all the same, that is an error and not a loop without end.
func TestUpdateThatChangesTheSession(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	res := c.try(m, func(s *session.Session) {
		total.Update(s, func(n int) int { s.Set("inner", n); return n + 1 })
	})
	check(t, "status", res.StatusCode, http.StatusInternalServerError)
}

func TestUpdateToAValueThatCannotBeStored(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	c.do(m, func(s *session.Session) { total.Set(s, 1) })
	res := c.try(m, func(s *session.Session) {
		got := session.Key[any]("total").Update(s, func(any) any { return make(chan int) })
		check(t, "result", got, nil)
	})
	check(t, "status", res.StatusCode, http.StatusInternalServerError)
	c.want([]*session.Manager{m}, "afterwards", ": [total=1]")
}

const code = session.Key[string]("code")

// Of 100 requests to several servers exactly one gets a value.
func TestTakeHasOneWinner(t *testing.T) {
	t.Parallel()
	ms, c := servers(t, 4), newVisitor(t)
	c.do(ms[0], func(s *session.Session) { code.Set(s, "once"); s.Set("other", 1) })
	var winners, losers atomic.Int32
	c.overlap(ms, 100, func(_ int, s *session.Session) {
		switch v, ok, err := code.Take(t.Context(), s); {
		case err != nil:
			t.Error(err)
		case ok && v == "once":
			winners.Add(1)
		case !ok && v == "":
			losers.Add(1)
		}
	})
	if winners.Load() != 1 || losers.Load() != 99 {
		t.Errorf("got %d winners and %d losers, want 1 and 99", winners.Load(), losers.Load())
	}
	c.want(ms, "afterwards", ": [other=1]")
}

// Take removes at once, and nothing but its key.
func TestTakeIsAtOnce(t *testing.T) {
	t.Parallel()
	ms, c := servers(t, 2), newVisitor(t)
	c.do(ms[0], func(s *session.Session) { code.Set(s, "once"); total.Set(s, 1) })
	slow := c.start(ms[0], func(v *visit, s *session.Session) {
		s.Set("later", 1)
		total.Update(s, plus(1))
		got, ok, err := code.Take(t.Context(), s)
		check(t, "Take", fmt.Sprint(got, " ", ok, " ", err), "once true <nil>")
		_, ok, err = code.Take(t.Context(), s)
		check(t, "Take again", fmt.Sprint(ok, " ", err), "false <nil>")
		_, ok = code.Get(s)
		check(t, "Get after Take", ok, false)
		v.pause()
	})
	c.want(ms, "while the taker still runs", ": [total=1]")
	slow.finish()
	c.want(ms, "after the taker", ": [later=1 total=2]")

	c.do(ms[0], func(s *session.Session) { code.Set(s, "again") })
	v := c.start(ms[0], func(v *visit, s *session.Session) {
		code.Take(t.Context(), s)
		panic("after Take")
	})
	v.finish()
	c.want(ms, "after a taker that panicked", ": [later=1 total=2]")
}

// What the same request did to the key before belongs to it.
func TestTakeOfPendingValues(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change    func(s *session.Session)
		got, left string
	}{
		"set": {func(s *session.Session) { code.Set(s, "new") }, "new true", ": [other=1]"},
		"updated": {func(s *session.Session) {
			code.Update(s, func(v string) string { return v + "+" })
		}, "old+ true", ": [other=1]"},
		"deleted":          {func(s *session.Session) { code.Delete(s) }, " false", ": [other=1]"},
		"cleared":          {func(s *session.Session) { s.Clear() }, " false", nothing},
		"cleared and set":  {func(s *session.Session) { s.Clear(); code.Set(s, "new") }, "new true", nothing},
		"renewed":          {func(s *session.Session) { s.Renew() }, "old true", ": [other=1]"},
		"logged in":        {func(s *session.Session) { s.Login("ann") }, "old true", "ann: [other=1]"},
		"logged out, set":  {func(s *session.Session) { s.Logout(); code.Set(s, "new") }, "new true", nothing},
		"other type first": {func(s *session.Session) { s.Set("code", 7) }, " false", ": [other=1]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ms, c := servers(t, 2), newVisitor(t)
			c.do(ms[0], func(s *session.Session) { code.Set(s, "old"); s.Set("other", 1) })
			c.do(ms[1], func(s *session.Session) {
				test.change(s)
				v, ok, err := code.Take(t.Context(), s)
				is(t, "Take", err, nil)
				check(t, "Take", fmt.Sprintf("%s %t", v, ok), test.got)
			})
			c.want(ms, "afterwards", test.left)
		})
	}
}

// A session that was never stored has nobody to compete with: Take costs no I/O.
func TestTakeFromANewSession(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.get(t, "", func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r)
		code.Set(s, "mine")
		v, ok, err := code.Take(t.Context(), s)
		check(t, "Take", fmt.Sprint(v, " ", ok, " ", err), "mine true <nil>")
	})
	equal(t, "store", b.store.took(), nil)
}

func TestTakeWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before, after func(string) error
		got           string // what Take returns
		err           error
		left          bool // the value is there afterwards
	}{
		"answer lost":                {nil, once(down("replace")), "once true", nil, false},
		"not applied":                {once(down("replace")), nil, "once true", nil, false},
		"answer lost, no look":       {down("load"), once(down("replace")), " false", session.ErrUncertain, false},
		"not applied, no look":       {down(), nil, " false", session.ErrUncertain, true},
		"every answer lost, no look": {down("load"), down("replace"), " false", session.ErrUncertain, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			cookie := b.cookie(t, func(s *session.Session) { code.Set(s, "once"); s.Set("other", 1) })
			res := b.get(t, cookie, func(w http.ResponseWriter, r *http.Request) {
				s := session.From(r)
				b.store.fail(test.before, test.after)
				v, ok, err := code.Take(t.Context(), s)
				b.store.fail(nil, nil)
				check(t, "Take", fmt.Sprintf("%s %t", v, ok), test.got)
				is(t, "Take", err, test.err)
			})
			if text := body(t, res); strings.Contains(text, "once") {
				t.Errorf("got the answer %q", text)
			}
			b.get(t, cookie, func(_ http.ResponseWriter, r *http.Request) {
				_, ok := code.Get(session.From(r))
				check(t, "left", ok, test.left)
			})
		})
	}
}

// once lets fail only the first call that it fails.
func once(fail func(string) error) func(string) error {
	done := false
	return func(op string) error {
		if err := fail(op); err != nil && !done {
			done = true
			return err
		}
		return nil
	}
}

// conflicting is a store whose Replace always conflicts.
type conflicting struct{ store.Store }

func (conflicting) Replace(context.Context, store.Record, uint64) error { return store.ErrConflict }

func TestTakeGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := server(t, func(c *session.Config) { c.Store = conflicting{c.Store} })
		c := newVisitor(t)
		c.do(m, func(s *session.Session) { code.Set(s, "once") })
		c.try(m, func(s *session.Session) {
			_, ok, err := code.Take(t.Context(), s)
			check(t, "ok", ok, false)
			is(t, "Take", err, session.ErrUnavailable)
		})
		m.Close()
	})
}

// Take follows a session that was renewed, but not one that ended or that a login took over.
func TestTakeFromAMovedSession(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		move func(s *session.Session)
		err  error
	}{
		"renewed":    {(*session.Session).Renew, nil},
		"logged in":  {func(s *session.Session) { s.Login("ann") }, session.ErrEnded},
		"logged out": {(*session.Session).Logout, session.ErrEnded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ms, c := servers(t, 2), newVisitor(t)
			c.do(ms[0], func(s *session.Session) { code.Set(s, "once") })
			slow := c.start(ms[0], func(v *visit, s *session.Session) {
				v.pause()
				got, ok, err := code.Take(t.Context(), s)
				is(t, "Take", err, test.err)
				check(t, "Take", fmt.Sprint(got, ok),
					map[bool]string{true: "oncetrue", false: "false"}[test.err == nil])
			})
			c.do(ms[1], test.move)
			slow.finish()
		})
	}
}

func TestTakeNeedsAStore(t *testing.T) {
	t.Parallel()
	b := newBench(t, encrypted)
	b.get(t, "", func(_ http.ResponseWriter, r *http.Request) {
		_, ok, err := code.Take(t.Context(), session.From(r))
		check(t, "ok", ok, false)
		is(t, "Take", err, errors.ErrUnsupported)
	})
}

// A client that hangs up can't make a value come back that Take may have given away.
func TestTakeIsDetached(t *testing.T) {
	t.Parallel()
	m, c := server(t), newVisitor(t)
	c.do(m, func(s *session.Session) { code.Set(s, "once") })
	s := load(t, m, c.value())
	ctx, hangUp := context.WithCancel(t.Context())
	hangUp()
	v, ok, err := code.Take(ctx, s)
	check(t, "Take", fmt.Sprint(v, " ", ok, " ", err), "once true <nil>")
	c.want([]*session.Manager{m}, "afterwards", nothing)
}

// A Take of what this request has set after a Login over somebody else leaves that one's session alone, also if it has
// to wait for another save.
func TestTakeAfterLoginOverAnother(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	code := session.Key[string]("code")
	cookie := b.cookie(t, func(s *session.Session) { s.Login("bob"); code.Set(s, "bob's") })
	s := mustLoad(t, b, value(cookie))
	s.Login("ann")
	code.Set(s, "ann's")
	b.store.took()
	if got, ok, err := code.Take(t.Context(), s); got != "ann's" || !ok || err != nil {
		t.Errorf("got %q, %v, %v, want the value that was just set", got, ok, err)
	}
	equal(t, "store calls", b.store.took(), nil)
	if got, _ := code.Get(mustLoad(t, b, value(cookie))); got != "bob's" {
		t.Errorf("got %q in the other session, want it untouched", got)
	}
}
