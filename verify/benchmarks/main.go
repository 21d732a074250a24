// Command benchmarks measures Hipflask beside other session libraries and beside the floor under each, in one run, and
// prints ratios. ../bench runs it.
//
//	./bench [-quick] [-write] [PART...]
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hipflask/session/verify/benchmarks/measure"
)

// bench is one run of the command.
type bench struct {
	plan     measure.Plan
	sessions int // that a library holds and is asked for in turn
	quick    bool
	dir      string // for files, removed at the end
	out      io.Writer
	command  string   // as it was called
	docs     []string // whose sections are to be written
	pictures string   // folder; "": none is drawn
	rows     table    // of targets, as far as measured
	limits   table    // those that are no ratios
}

// part is a piece of the run that can be asked for by name.
type part struct {
	name      string
	run       func(b *bench) error
	onRequest bool // it takes long: only by its name
}

var parts = []part{
	{"requests", (*bench).requests, false},
	{"parallel", (*bench).parallel, false},
	{"files", (*bench).files, false},
	{"redis", (*bench).redis, false},
	{"servers", (*bench).servers, false},
	{"races", (*bench).races, false},
	{"bound", (*bench).bound, false},
	{"hot", (*bench).hot, false},
	{"telemetry", (*bench).telemetry, false},
	{"contention", (*bench).contention, true},
	{"scale-memory", (*bench).scaleMemory, true},
	{"scale-files", (*bench).scaleFiles, true},
	{"scale-redis", (*bench).scaleRedis, true},
	{"redis-server", (*bench).redisServer, true},
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "measure shorter, with wider spread")
	write := flags.Bool("write", false, "put the tables into docs/performance.md and docs/scale.md")
	if err := flags.Parse(args); err != nil {
		return err
	}
	b := &bench{plan: measure.Plan{Rounds: 41, Slice: 20 * time.Millisecond}, sessions: 300, quick: *quick,
		out: out, command: strings.Join(append([]string{"./bench"}, args...), " ")}
	if *quick {
		b.plan = measure.Plan{Rounds: 11, Slice: 10 * time.Millisecond}
	}
	chosen, err := choose(flags.Args())
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "hipflask-bench"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if *write {
		b.pictures = "docs/performance"
		b.docs = []string{"docs/performance.md", "docs/scale.md"}
	}
	for _, p := range chosen {
		if err := p.run(b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return b.targets()
}

// choose returns the parts with these names, or the usual ones.
func choose(names []string) (chosen []part, err error) {
	for _, p := range parts {
		if slices.Contains(names, p.name) || len(names) == 0 && !p.onRequest {
			chosen = append(chosen, p)
		}
	}
	if len(chosen) < len(names) {
		return nil, fmt.Errorf("%q has a name that is none of the parts, or one twice: see main.go", names)
	}
	return chosen, nil
}
