package session_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hipflask/session"
	"github.com/hipflask/session/sessiontest"
	"github.com/hipflask/session/store"
	"github.com/hipflask/session/store/memstore"
)

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

	n, err := ms[1].RevokeFunc(t.Context(), func(i session.Info) bool { return i.Label == "phone" && i.Principal != "ben" })
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
