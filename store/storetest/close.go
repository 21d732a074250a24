package storetest

import (
	"context"
	"io"
	"runtime/pprof"
	"testing"
	"time"

	"github.com/hipflask/session/store"
)

var closeClauses = []clause{{
	name: "CloseTwice",
	rule: "Close, where a store has it, may be called again, and by several at once: programs close " +
		"on more than one path.",
	run: closeTwice,
}, {
	name: "CloseKeepsTheData", about: aboutReopening,
	rule: "what was answered is there when the store is opened again, and Close leaves other stores " +
		"over the same data alone.",
	run: closeKeepsTheData,
}, {
	name: "NoGoroutineLeft", realTime: true,
	rule: "after Close, and after calls that were cancelled or loops that were left, no goroutine is " +
		"left: Close stops what the store started and waits for it. Of 14 stores of a peer 11 got this wrong.",
	run: noGoroutineLeft,
}}

func closeTwice(p *probe, _, _ store.Store) {
	s := p.open(p.opener)
	if closer(s) == nil {
		return
	}
	rec := newRecord()
	p.create(s, rec)
	p.each(4, func(int) { p.want(nil, closer(s)(), "Close by several at once") })
	p.want(nil, closer(s)(), "Close again")
	_, _ = s.Load(p.ctx, rec.Key) // any answer, but no panic
}

// closer returns the Close of s, nil if it has none: the contract does not ask for one.
func closer(s store.Store) func() error {
	if c, ok := store.As[io.Closer](s); ok {
		return c.Close
	}
	if c, ok := store.As[interface{ Close() }](s); ok {
		return func() error { c.Close(); return nil }
	}
	return nil
}

func closeKeepsTheData(p *probe, a, _ store.Store) {
	recs := recordsOf(newRecord().Principal, 3)
	s := p.open(p.opener)
	p.createAll(s, recs)
	next := changed(recs[0])
	p.replace(s, next, recs[0].Version)
	recs[0] = next
	if c := closer(s); c != nil {
		p.want(nil, c(), "Close")
	}
	again := p.open(p.opener)
	for _, rec := range recs {
		p.present(again, rec, "after the store was closed and opened again")
		p.present(a, rec, "through a store that was open all the time")
		p.ok(a.Delete(p.ctx, rec.Key), "Delete")
	}
}

func noGoroutineLeft(p *probe, _, _ store.Store) {
	mark := newKey() // goroutines inherit the label of the one that starts them
	pprof.Do(p.ctx, pprof.Labels("storetest-leak", mark), func(ctx context.Context) {
		p.t.Run("use", func(t *testing.T) {
			s := p.opener(t)
			p.each(1, func(int) { p.useAndClose(ctx, s) }) // may end its goroutine, which is not for the subtest's
		})
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	left := goroutines("storetest-leak", mark)
	for deadline := time.Now().Add(p.cfg.limit / 6); left != "" && time.Now().Before(deadline); <-tick.C {
		left = goroutines("storetest-leak", mark)
	}
	if left != "" {
		p.Errorf("goroutines that are left:\n%s", left)
	}
}

// useAndClose calls every method, and leaves loops and calls early.
func (p *probe) useAndClose(ctx context.Context, s store.Store) {
	p.Helper()
	rec := newRecord()
	next := changed(rec)
	p.ok(s.Create(ctx, rec), "Create")
	p.ok(s.Replace(ctx, next, rec.Version), "Replace")
	p.ok(s.Touch(ctx, rec.Key, next.Version, now(), rec.ExpiresAt), "Touch")
	p.each(writers, func(i int) {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(i)*10*time.Microsecond)
		defer cancel()
		_, _ = s.Load(ctx, rec.Key) // an error is as good
		_ = s.Replace(ctx, changed(rec), store.NewVersion())
	})
	if !p.cfg.noIndex {
		for _, l := range listings(p.lister(s), rec.Principal) {
			for range l.seq(ctx) {
				break
			}
		}
	}
	if !p.cfg.ownExpiry {
		_, err := p.sweeper(s).Sweep(ctx, 1)
		p.ok(err, "Sweep")
	}
	p.ok(s.Delete(ctx, rec.Key), "Delete")
	if c := closer(s); c != nil {
		p.want(nil, c(), "Close")
	}
}
