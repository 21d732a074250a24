package interleave

import (
	"flag"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

var (
	more     = flag.Bool("more", false, "one fault more, a crash, and the scenarios of four requests")
	only     = flag.String("scenario", "", "only scenarios whose names match this regular expression")
	faults   = flag.Int("faults", -1, "store calls that fail in each scenario; default: the scenario's own number")
	crashes  = flag.Int("crashes", -1, "processes that die in each scenario; default: none, 1 with -more")
	managers = flag.Int("managers", -1, "processes that the requests take in turn, 0: one for each; "+
		"default: 0, 1 and 2")
	limit = flag.Int("runs", 0, "at most so many runs of a scenario; 0: no bound, but 300000 for those "+
		"of four requests")
)

// selected returns the scenarios to be run, with the bounds of the flags.
func selected(t *testing.T, from []scenario) (list []scenario) {
	re, err := regexp.Compile(*only)
	if err != nil {
		t.Fatal(err)
	}
	for _, sc := range from {
		if !re.MatchString(sc.name) {
			continue
		}
		switch {
		case *faults >= 0:
			sc.faults = *faults
		case *more:
			sc.faults++
		case raceDetector:
			sc.faults = max(sc.faults-1, 0)
		}
		switch {
		case *crashes >= 0:
			sc.crashes = *crashes
		case *more:
			sc.crashes = 1
		}
		list = append(list, sc)
	}
	return list
}

// total counts over all scenarios of a test.
type total struct{ runs atomic.Int64 }

func (n *total) explore(t *testing.T, scenarios []scenario, o options, limit int) {
	for _, sc := range scenarios {
		if o.managers > 0 {
			if len(sc.jumps) > 0 {
				continue // whether a request gets a lock or its time is up first is up to Go
			}
			sc.crashes = 0 // a process would take all its requests along
		}
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := new(explorer).explore(t, &sc, o, limit)
				n.report(t, &sc, &r)
			})
		})
	}
}

func (n *total) report(t *testing.T, sc *scenario, r *result) {
	n.runs.Add(int64(r.runs))
	all := ""
	if !r.complete {
		all = " (not all)"
	}
	t.Logf("%s: %d faults, %d crashes, %d pauses: %d runs for %d interleavings%s, %d states",
		sc.name, sc.faults, sc.crashes, len(sc.jumps), r.runs, r.paths, all, r.states)
	for _, f := range r.documented() {
		t.Log(f)
	}
	for _, f := range r.bad() {
		t.Errorf("%s\n%s", f, r.findings[f])
	}
}

// Every rule holds in every interleaving of every scenario: with a process for each request, with all of them in one,
// where its lock has a say, and with two.
func TestInterleavings(t *testing.T) {
	for _, n := range []int{0, 1, 2} {
		if *managers >= 0 && *managers != n {
			continue
		}
		t.Run(fmt.Sprintf("managers=%d", n), func(t *testing.T) {
			var sum total
			t.Cleanup(func() { t.Logf("%d runs", sum.runs.Load()) })
			from := slices.Concat(scenarios, mixed)
			if n < 2 || *more {
				from = append(from, hard...)
			}
			if n == 0 { // logins elsewhere share no lock
				from = append(from, limited...)
			}
			list := selected(t, from)
			if n == 2 { // with two requests that is a process for each again
				list = three(list)
			}
			sum.explore(t, list, options{managers: n}, *limit)
		})
	}
}

// The race detector leaves time for smaller bounds only. So the full ones are run without it, too.
func TestWithoutRaceDetector(t *testing.T) {
	if !raceDetector || *child {
		return
	}
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "test", "-v", "-vet=off", "-run=^TestInterleavings$",
		".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, " interleavings") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

func three(from []scenario) (list []scenario) {
	for _, sc := range from {
		if len(sc.requests) > 2 {
			list = append(list, sc)
		}
	}
	return list
}

// The scenarios of four requests have too many interleavings for every day. They are run with -more, as far as -runs
// goes.
func TestLarge(t *testing.T) {
	if !*more {
		return
	}
	var sum total
	t.Cleanup(func() { t.Logf("%d runs", sum.runs.Load()) })
	n := *limit
	if n == 0 {
		n = 300_000
	}
	list := selected(t, large)
	for i := range list {
		list[i].crashes = max(*crashes, 0)
		if *faults < 0 {
			list[i].faults--
		}
	}
	sum.explore(t, list, options{}, n)
}

// A state that is known stands for all interleavings that go on from it: running each of them finds as many, and the
// same.
func TestPruning(t *testing.T) {
	names := []string{"set|upd", "take|take", "setupd|renew", "setupd|login", "logout|renew", "renew|touch",
		"set|login(A);login(B)"}
	for _, sc := range scenarios {
		for _, name := range names {
			if sc.name != name {
				continue
			}
			sc.faults = 1
			if len(sc.requests) > 2 {
				sc.faults = 0
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					pruned := new(explorer).explore(t, &sc, options{}, 0)
					all := (&explorer{all: true}).explore(t, &sc, options{}, 0)
					if got, want := pruned.paths, all.paths; got != want {
						t.Errorf("got %d interleavings, want %d", got, want)
					}
					if got, want := fmt.Sprint(pruned.bad(), pruned.documented()), fmt.Sprint(all.bad(),
						all.documented()); got != want {
						t.Errorf("got %s, want %s", got, want)
					}
					if uint64(all.runs) < all.paths || pruned.runs >= all.runs {
						t.Errorf("got %d runs for %d interleavings, and %d when pruned", all.runs, all.paths,
							pruned.runs)
					}
				})
			})
		}
	}
}

// The orders that are left out make no difference: with them there are the same ends and the same findings.
// With -more that is checked for all scenarios.
func TestOrders(t *testing.T) {
	names := []string{"setupd|renew", "setupd|login", "logout|renew", "login|login", "logout|login(B) over A",
		"revoke|renew",
		"set|login(A);login(B)", "logout;login|set", "setupd|renew expiry", "twice|login", "elsewhere;others|renew"}
	for _, sc := range slices.Concat(scenarios, mixed) {
		if !*more && !slices.Contains(names, sc.name) {
			continue
		}
		sc.faults = 1
		if len(sc.requests) > 2 && raceDetector {
			sc.faults = 0
		}
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				few := new(explorer).explore(t, &sc, options{}, 0)
				all := new(explorer).explore(t, &sc, options{anyOrder: true}, 0)
				if !maps.Equal(few.ends, all.ends) {
					t.Errorf("got %d ends, want %d", len(few.ends), len(all.ends))
				}
				if got, want := fmt.Sprint(few.bad(), few.documented()), fmt.Sprint(all.bad(),
					all.documented()); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				t.Logf("%d interleavings in %d runs instead of %d in %d, %d ends", few.paths, few.runs,
					all.paths, all.runs, len(all.ends))
			})
		})
	}
}

// The same schedule is found again by name: the report of a finding leads to it step by step.
func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sc := scenario{name: "login|login", requests: of(loginA, loginB)} // parallel is not allowed here
		r := new(explorer).explore(t, &sc, options{}, 0)
		if len(r.bad()) == 0 {
			t.Fatal("two logins in parallel: got no finding")
		}
		for _, f := range r.bad() {
			schedule := r.findings[f]
			for _, step := range []string{"login(A) is sent with cookie K0", "Load K0 -> {live v0: old, token}",
				"login(B) answers: saved, cookie K(login(B))"} {
				if !strings.Contains(schedule, step) {
					t.Errorf("%s: got schedule\n%s\nwant %q in it", f, schedule, step)
				}
			}
		}
	})
}
