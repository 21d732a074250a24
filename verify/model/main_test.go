package main

import (
	"maps"
	"slices"
	"testing"
)

var quick = bounds{faults: -1, crashes: 1, expires: 1, limit: 40_000, ticks: ticks{2, 2, 4, 7}}

func find(t *testing.T, name string) scenario {
	t.Helper()
	i := slices.IndexFunc(scenarios, func(sc scenario) bool { return sc.name == name })
	if i < 0 {
		t.Fatalf("there is no scenario %q", name)
	}
	return scenarios[i]
}

func violations(sc scenario, f Fix, c Change, b bounds) []string {
	found, _, _ := sc.explore(f, c, b)
	return slices.DeleteFunc(slices.Sorted(maps.Keys(found)), func(finding string) bool {
		return !isViolation(finding)
	})
}

// TestNoViolation explores the beginning of every scenario, with all rules. "go run" explores all of it.
func TestNoViolation(t *testing.T) {
	t.Parallel()
	b := quick
	b.limit = 2_000
	for _, sc := range scenarios {
		if got := violations(sc, allFixes(), proposed(), b); len(got) > 0 {
			t.Errorf("%s: found %q", sc.name, got)
		}
	}
}

// TestWithoutRule switches off a rule in a scenario that needs it. The model must find what breaks; otherwise it shows
// nothing.
func TestWithoutRule(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ rule, scenario, finding string }{
		{"Reload", "take|login", "P4: session destroyed, nobody ended it"},
		{"Rebuild", "login|renew", "P1: acknowledged set lost"},
		{"CASEnd", "logout|renew", "P1: write dropped with 2xx though the session lives"},
		{"Hard", "b: elevate|set", "B: a request that came with an earlier ID sees the elevation"},
		{"HardHop", "a: others|renew", "A: a cookie from before an acknowledged RevokeOthers is served"},
		{"HardLose", "a: others|login", "P4: session destroyed, nobody ended it"},
		{"EndCk", "a: others|set", "A: the answer comes, but without the new cookie: the browser keeps a dead one"},
		{"Spent", "b: elevate|set", "B: a request that came with an earlier ID sees the elevation"},
		{"Clear", "d: set|clear+login", "D: an anonymous value entered a cleared session"},
		{"ClearLP", "d: set|login;clear+login", "D: an anonymous value entered a cleared session"},
		{"ListHop", "e: oldest 2: login|renew(2)", "E: more sessions than MaxSessions, and every login was answered"},
		{"ListOnce", "e: oldest 2: login|renew(2)", "E: fewer sessions than MaxSessions, though enough were made"},
		{"Pair", "e: oldest 3: login(2) over own|login", "E: one of the newest was ended"},
		{"Bump", "e: oldest 1: login;login skew",
			"E: a login that overlapped no other ended itself: its server's clock is behind"},
		{"Settle", "e: refuse 3: login|login", "E: more sessions than MaxSessions, and every login was answered"},
		{"Kick", "e: refuse 3: login|login", "E: more sessions than MaxSessions, and every login was answered"},
		{"GatherNo", "h: upd|set|logout apart", "P1: acknowledged Update lost"},
		{"HandNew", "f: x1|x2|x1 apart", "F: acknowledged write lost: the value that it had read and " +
			"replaced is still there"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			fixes, rules := allFixes(), proposed()
			sc := find(t, c.scenario)
			if got := violations(sc, fixes, rules, quick); len(got) > 0 {
				t.Errorf("%s: found %q with all rules", c.scenario, got)
			}
			if err := switchRules(&fixes, &rules, c.rule, false); err != nil {
				t.Fatal(err)
			}
			if got := violations(sc, fixes, rules, quick); !slices.Contains(got, c.finding) {
				t.Errorf("%s without %s: found %q, want %q too", c.scenario, c.rule, got, c.finding)
			}
		})
	}
}

func TestUnknownRule(t *testing.T) {
	t.Parallel()
	var f Fix
	var c Change
	if err := switchRules(&f, &c, "Hard,Nothing", true); err == nil || !c.Hard {
		t.Errorf("got %v and Hard %v, want an error that names the rule, and Hard on", err, c.Hard)
	}
}
