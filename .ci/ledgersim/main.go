// Command ledgersim simulates racks that run the real ledger of cluster/ledger: it kills
// boards, loses and damages their cards, steps their clocks, delays and drops their
// messages, and checks that no acknowledged order disappears. The same seed gives exactly
// the same run; DESIGN.md has how, and what is checked.
//
//	go run -C .ci/ledgersim .                    200 seeds and the named scenarios
//	go run -C .ci/ledgersim . -seeds 10000       more of them
//	go run -C .ci/ledgersim . -seed 17 -v        one, with its trace
//	go run -C .ci/ledgersim . -scenario list     the named scenarios
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ledgersim:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	seed     int64
	first    uint64
	seeds    uint64
	scenario string
	jobs     int
	verbose  bool
	twice    bool
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var o options
	flags := flag.NewFlagSet("ledgersim", flag.ContinueOnError)
	flags.Int64Var(&o.seed, "seed", -1, "run this seed alone, and print what it did")
	flags.Uint64Var(&o.first, "first", 1, "the first of several seeds")
	flags.Uint64Var(&o.seeds, "seeds", 200, "the number of seeds")
	flags.StringVar(&o.scenario, "scenario", "", "a named scenario instead of random ones; list prints them")
	flags.IntVar(&o.jobs, "jobs", 1, "the number of seeds that run at the same time")
	flags.BoolVar(&o.verbose, "v", false, "print the trace of the run")
	flags.BoolVar(&o.twice, "twice", false, "run every seed twice, and compare the runs")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	cache := ""
	if dir, err := os.UserCacheDir(); err == nil {
		cache = filepath.Join(dir, "bramble-ledgersim")
	}
	m, err := newMachine(ctx, cache)
	if err != nil {
		return err
	}
	switch {
	case o.scenario == "list":
		for _, name := range m.scenarios(ctx) {
			fmt.Fprintln(out, name)
		}
		return nil
	case o.seed >= 0 || o.scenario != "":
		var trace io.Writer
		if o.verbose {
			trace = out
		}
		return m.runOne(ctx, uint64(max(o.seed, 0)), o.scenario, trace, out)
	}
	return m.runMany(ctx, o, out)
}

// scenarios returns the names of the scenarios.
func (m *machine) scenarios(ctx context.Context) []string {
	return strings.Split(strings.TrimSpace(m.run(ctx, 0, "list", nil).Output), "\n")
}

// runOne runs one seed and prints the result.
func (m *machine) runOne(ctx context.Context, seed uint64, scenario string, trace, out io.Writer) error {
	r := m.run(ctx, seed, scenario, trace)
	fmt.Fprintf(out, "%sseed %d: digest %s, %.1f virtual seconds\n", r.Output, seed, r.Digest, r.Virtual.Seconds())
	return r.Err
}

// errSeeds: some seeds failed.
var errSeeds = errors.New("some seeds failed; run each alone with -seed N -v")

// runMany runs several seeds and prints those that failed.
func (m *machine) runMany(ctx context.Context, o options, out io.Writer) error {
	var mu sync.Mutex // guards failed, virtual and done
	done := tally{faults: map[string]int{}}
	failed, virtual := 0, time.Duration(0)
	seeds := make(chan uint64)
	var all sync.WaitGroup
	started := time.Now()
	for range o.jobs {
		all.Go(func() {
			for seed := range seeds {
				r := m.run(ctx, seed, "", nil)
				if o.twice && r.Err == nil {
					if again := m.run(ctx, seed, "", nil); again.Digest != r.Digest {
						r.Err = fmt.Errorf("it ran differently the second time: digest %s, then %s", r.Digest, again.Digest)
					}
				}
				mu.Lock()
				virtual += r.Virtual
				done.add(r.Output)
				if r.Err != nil {
					failed++
					fmt.Fprintf(out, "seed %d: %v\n%s\n", seed, r.Err, r.Output)
				}
				mu.Unlock()
			}
		})
	}
	for i := range o.seeds {
		seeds <- o.first + i
	}
	close(seeds)
	all.Wait()
	fmt.Fprintf(out, "%d seeds from %d, %d failed; %.1f hours of the racks in %.0f s\n",
		o.seeds, o.first, failed, virtual.Hours(), time.Since(started).Seconds())
	done.print(out)
	if failed > 0 {
		return errSeeds
	}
	return nil
}

// tally counts what the worlds report.
type tally struct {
	orders, acknowledged int
	selling              int // worlds that acknowledged an order
	faults               map[string]int
}

// ordersFormat is the line of ./world with its counts.
const ordersFormat = "%d boards, %d cards, %d orders, %d acknowledged"

func (t *tally) add(output string) {
	for line := range strings.Lines(output) {
		var boards, cards, orders, acknowledged int
		if n, _ := fmt.Sscanf(line, ordersFormat, &boards, &cards, &orders, &acknowledged); n == 4 {
			t.orders += orders
			t.acknowledged += acknowledged
			if acknowledged > 2*boards { // each takes one at the end
				t.selling++
			}
		}
		if list, ok := strings.CutPrefix(strings.TrimSpace(line), "faults: "); ok {
			for fault := range strings.SplitSeq(list, ", ") {
				t.faults[fault]++
			}
		}
	}
}

func (t *tally) print(out io.Writer) {
	fmt.Fprintf(out, "%d orders, %d of them acknowledged; %d seeds sold before the end\n", t.orders, t.acknowledged, t.selling)
	for _, fault := range sortedKeys(t.faults) {
		fmt.Fprintf(out, "%6d seeds with: %s\n", t.faults[fault], fault)
	}
}
