package session_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/hipflask/session"
	"github.com/hipflask/session/store/memstore"
)

// A store that suddenly has none of the sessions of its clients is one event and one line in the log. What happens all
// the time is none: single cookies of sessions that have ended long ago, one client that sends such a cookie again and
// again, or all sessions that have expired.
func TestEmptiedStore(t *testing.T) {
	t.Parallel()
	const clients = 100
	for name, c := range map[string]struct {
		idle    time.Duration
		between func(t *testing.T, b *bench, forget func())
		visit   func(i int, c, old, alive *visitor, b *bench)
		want    int
	}{
		"emptied":     {hour, func(_ *testing.T, _ *bench, forget func()) { forget() }, nil, 1},
		"not emptied": {hour, func(*testing.T, *bench, func()) {}, nil, 0},
		"emptied, and logged in again": {hour, func(_ *testing.T, _ *bench, forget func()) { forget() },
			func(i int, c, _, _ *visitor, b *bench) {
				c.do(b.Manager, func(s *session.Session) { s.Login("again") })
				c.do(b.Manager, read)
			}, 1},
		"emptied twice": {hour, func(_ *testing.T, b *bench, forget func()) { forget(); time.Sleep(11 * minute) },
			func(i int, c, _, _ *visitor, b *bench) {
				if i == clients/2 {
					time.Sleep(11 * minute)
				}
				c.do(b.Manager, read)
			}, 2},
		"one client, again and again": {hour, func(_ *testing.T, _ *bench, forget func()) { forget() },
			func(i int, _, old, _ *visitor, b *bench) { old.copy().do(b.Manager, read) }, 0},
		"single ones": {hour, func(_ *testing.T, _ *bench, forget func()) { forget() },
			func(i int, c, _, alive *visitor, b *bench) {
				c.do(b.Manager, read)
				if i%19 == 18 {
					alive.do(b.Manager, read)
				}
			}, 0},
		"all have expired": {hour, func(_ *testing.T, b *bench, forget func()) {
			forget()
			time.Sleep(61 * minute)
		}, nil, 0},
		"a session that has ended is there": {hour, func(_ *testing.T, _ *bench, forget func()) { forget() },
			func(i int, c, old, alive *visitor, b *bench) {
				c.do(b.Manager, read)
				if i == 0 {
					alive.copy().do(b.Manager, (*session.Session).Logout)
				}
				if i%10 == 9 {
					alive.copy().do(b.Manager, read)
				}
			}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			bubble(t, func(cfg *session.Config) {
				cfg.IdleTimeout = c.idle
				logTo(&log)(cfg)
			}, func(t *testing.T, b *bench, _ *visitor) {
				var all []*visitor
				for range clients {
					v, _ := device(t, b.Manager, "ann", "")
					all = append(all, v)
				}
				alive, _ := device(t, b.Manager, "ben", "")
				time.Sleep(5 * minute)
				mem := b.store.Store.(*memstore.Store)
				c.between(t, b, func() {
					for r, err := range mem.All(t.Context()) {
						is(t, "All", err, nil)
						if r.Principal == "ann" {
							is(t, "Delete", mem.Delete(t.Context(), r.Key), nil)
						}
					}
				})
				b.events.took()
				for i, v := range all {
					if c.visit == nil {
						v.do(b.Manager, read)
					} else {
						c.visit(i, v, all[0], alive, b)
					}
				}
				check(t, "events", count(b.events.took(), "emptied"), c.want)
				check(t, "lines", strings.Count(log.String(), "none of the sessions"), c.want)
			})
		})
	}
}

// A server that begins with the wrong store says so too. What is not signed by us says nothing.
func TestWrongStore(t *testing.T) {
	t.Parallel()
	right, wrong := newBench(t), newBench(t)
	other := newBench(t, func(c *session.Config) { c.SecretKey = session.NewSecretKey() })
	for range 30 {
		wrong.get(t, other.cookie(t, setPlain), look)
	}
	check(t, "events after forged cookies", count(wrong.events.took(), "emptied"), 0)
	for range 30 {
		wrong.get(t, right.cookie(t, setPlain), look)
	}
	check(t, "events", count(wrong.events.took(), "emptied"), 1)
}
