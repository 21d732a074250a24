package storetest

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/hipflask/session/store"
)

// An Option declares what a store does not do, or how it has to be tested.
type Option func(*config)

// config is what the options of one Run add up to.
type config struct {
	singleOpen bool
	noIndex    bool
	ownExpiry  bool
	bubble     bool
	coarse     time.Duration
	maxData    int
	bounded    func(testing.TB) store.Store
	wrap       func(store.Store) store.Store // of Wrapper
	except     map[string]string
	limit      time.Duration // of one clause
	out        reporter      // where findings go; nil: the subtest
}

// mebibyte is the largest Data that every store keeps unless it declares less: the default of Config.MaxBytes.
const mebibyte = 1 << 20

// clauseLimit is how long one clause may take before it counts as hanging. It only has to be longer than the slowest
// store on the slowest machine.
const clauseLimit = 2 * time.Minute

func newConfig(opts []Option) *config {
	cfg := &config{maxData: mebibyte, except: map[string]string{}, limit: clauseLimit}
	for _, o := range opts {
		o(cfg)
	}
	return cfg
}

// SingleOpen declares that the same data can't be opened twice, as with a store in memory. Each call of open then
// returns a new store, and the clauses about two opens are left out.
func SingleOpen() Option { return func(c *config) { c.singleOpen = true } }

// NoIndex declares that the store is no [store.Lister]: "log out everywhere" and lists of sessions do not work on it.
// A store that declares it and has the methods all the same fails.
func NoIndex() Option { return func(c *config) { c.noIndex = true } }

// OwnExpiry declares that the store is no [store.Sweeper], because its medium removes expired records itself, as Redis
// does. A store that declares it and has the method all the same fails.
func OwnExpiry() Option { return func(c *config) { c.ownExpiry = true } }

// CoarseExpiry declares that a record may be there for up to d longer than its ExpiresAt says, as on a server that
// counts seconds; never shorter. d is added to every wait for an expiry. Negative durations count as 0, the default.
func CoarseExpiry(d time.Duration) Option { return func(c *config) { c.coarse = max(d, 0) } }

// MaxData declares that the store keeps at most n bytes of Data and refuses more with an error. The default, and the
// most that is asked, is 1 MiB.
func MaxData(n int) Option { return func(c *config) { c.maxData = min(n, mebibyte) } }

// Bounded says how to open a store that is a [store.Evicter] with bounds so narrow that it evicts before it holds 1000
// records of 1 KiB. Each call returns a new, empty store. A store that is an Evicter has to pass it; one that isn't
// never evicts and needs nothing.
func Bounded(open func(testing.TB) store.Store) Option { return func(c *config) { c.bounded = open } }

// Bubble runs each clause in a bubble of [testing/synctest], where waiting for an expiry takes no time. It is for
// stores that are nothing but memory: no files, no connections. The TB that open gets is the bubble's.
func Bubble() Option { return func(c *config) { c.bubble = true } }

// Except leaves out one clause, by the last element of its subtest's name, for a reason that the store's documentation
// gives as well. It is for layouts that were not made for this contract, such as another library's. An unknown name is
// a failure.
func Except(clause, reason string) Option { return func(c *config) { c.except[clause] = reason } }

func (cfg *config) unknownExceptions() []string {
	var unknown []string
	for _, name := range slices.Sorted(maps.Keys(cfg.except)) {
		if !slices.ContainsFunc(clauses, func(c clause) bool { return c.name == name }) {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

// wants tells whether c is asked of the store.
func (cfg *config) wants(c clause) bool {
	if _, skip := cfg.except[c.name]; skip {
		return false
	}
	switch c.about {
	case aboutIndex:
		return !cfg.noIndex
	case aboutSweeping:
		return !cfg.ownExpiry
	case aboutEviction:
		return cfg.bounded != nil
	case aboutMaxData:
		return cfg.maxData < mebibyte
	case aboutReopening:
		return !cfg.singleOpen
	case aboutWrapping:
		return cfg.wrap != nil
	}
	return true
}
