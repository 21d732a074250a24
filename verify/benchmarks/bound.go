package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"

	"github.com/hipflask/session/verify/benchmarks/measure"
)

// benchmarkLine is what testing.B prints with -benchmem, see https://go.dev/design/14313-benchmark-format.
var benchmarkLine = regexp.MustCompile(
	`(?m)^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(\S+) ns/op\s+\S+ B/op\s+(\d+) allocs/op$`)

// bound measures what module dbsc adds to a request of a device bound session, and a refresh, by the benchmarks of that
// module. All of them run in each round, so that they share what else the machine does.
func (b *bench) bound() error {
	all := map[string]measure.Samples{}
	for range min(b.plan.Rounds, 15) {
		cmd := exec.Command("go", "test", "-vet=off", "-run", "^$", "-bench", ".", "-benchmem",
			"-benchtime", b.plan.Slice.String(), "github.com/hipflask/session/dbsc")
		cmd.Dir = folder()
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%q: %w: %s", cmd.Args, err, out)
		}
		for _, line := range benchmarkLine.FindAllStringSubmatch(string(out), -1) {
			s := all[line[1]]
			took, err := strconv.ParseFloat(line[2], 64)
			if err != nil {
				return err
			}
			s.Time = append(s.Time, took)
			s.Allocs, _ = strconv.ParseFloat(line[3], 64) // digits
			all[line[1]] = s
		}
	}
	sum := func(names ...string) (total measure.Samples) {
		total.Time = make([]float64, len(all["ES256"].Time))
		for _, name := range names {
			for i, took := range all[name].Time {
				total.Time[i] += took
			}
		}
		return total
	}
	b.row(target{"device bound session, request", "the same unbound, and an HMAC", 1.25, 1, 0},
		all["Request/bound"], sum("Request/without", "Request/MAC"))
	b.row(target{"device bound session, refresh", "two requests unbound, and ES256", 1.5, 1.25, 0},
		all["Refresh"], sum("Request/without", "Request/without", "ES256"))
	return nil
}
