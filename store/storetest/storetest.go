// Package storetest tells whether a [store.Store] keeps the contract of package store. A store that passes [Run] needs
// no tests of its own for what the contract says:
//
//	func TestConformance(t *testing.T) {
//		dir := t.TempDir()
//		storetest.Run(t, func(tb testing.TB) store.Store {
//			s, err := mystore.New(dir)
//			if err != nil {
//				tb.Fatal(err)
//			}
//			tb.Cleanup(func() { s.Close() })
//			return s
//		})
//	}
//
// Each clause of the contract is a subtest of its own. One that fails says what was seen and which rule that breaks,
// and why the rule is there. Run it under the race detector.
//
// # What open has to do
//
// Run calls open with the testing.TB of a subtest, once or several times. Each call returns a store of its own, which
// the subtest may close; calls with the same TB open the same data, as several processes would. A store that can't,
// because its data is in its own memory, declares [SingleOpen]: then open is called once in each subtest.
//
// Subtests may share their data or not, as it suits the store: one folder, database or server for the whole Run is
// fine. Every subtest uses random keys and principals of its own, never counts on an empty store, ignores records that
// it did not make, and deletes those it made. (The clause about hostile keys also uses a few short fixed keys, such as
// ".." and "CON".) Subtests run in parallel, except those that would be in each other's way: so two Runs must not use
// the same data at the same time, nor should anything else.
//
// What open starts, it ends by tb.Cleanup. The clause NoGoroutineLeft looks for goroutines that were started in open or
// in a method and are still there after the cleanups.
//
// # What a store does not do
//
// Run expects everything: the index of [store.Lister], [store.Sweeper], expiry to the millisecond, a mebibyte of data.
// What a store lacks, it declares by options, so that forgetting a method is a failure and a limit is written down.
package storetest

import (
	"sync"
	"testing"

	"github.com/hipflask/session/store"
)

// Run checks every clause of the contract of package store against the stores that open returns; the package
// documentation says what open has to do. It returns when all subtests have ended.
//
// The subtests are named OneOpen/CLAUSE, and TwoOpens/CLAUSE where a rule has to hold between two stores over the same
// data as well.
func Run(t *testing.T, open func(testing.TB) store.Store, opts ...Option) {
	t.Helper()
	cfg := newConfig(opts)
	for _, name := range cfg.unknownExceptions() {
		t.Errorf("storetest: Except names no clause of this suite: %q", name)
	}
	t.Run("OneOpen", func(t *testing.T) { cfg.run(t, open, 1) })
	if !cfg.singleOpen {
		t.Run("TwoOpens", func(t *testing.T) { cfg.run(t, open, 2) })
	}
}

// run checks all clauses that apply to so many stores over the same data: first those that have to be alone, then those
// that wait, and then the others. testing runs as many parallel subtests at a time as there are processors. One that
// waits would keep a place that others could work in; so all that wait run at once, in goroutines of their own.
func (cfg *config) run(t *testing.T, open func(testing.TB) store.Store, stores int) {
	var alone, waiting, others []clause
	for _, c := range clauses {
		switch {
		case !cfg.wants(c) || stores > 1 && !c.twoOpens:
		case c.alone:
			alone = append(alone, c)
		case c.waits:
			waiting = append(waiting, c)
		default:
			others = append(others, c)
		}
	}
	for _, c := range alone {
		t.Run(c.name, func(t *testing.T) { cfg.check(t, c, open, stores) })
	}
	var wg sync.WaitGroup
	for _, c := range waiting {
		wg.Go(func() { t.Run(c.name, func(t *testing.T) { cfg.check(t, c, open, stores) }) })
	}
	wg.Wait()
	for _, c := range others {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg.check(t, c, open, stores)
		})
	}
}
