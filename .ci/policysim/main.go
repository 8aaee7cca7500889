// Command policysim compares eviction policies: it replays traces, or synthetic
// workloads, and prints the hit ratio by requests and by bytes of Bramble's policy
// and of other caches with the same budget. It is a module of its own, so that the
// other caches are no dependencies of Bramble.
//
//	go run -C .ci/policysim .                            synthetic workloads, 1,000 entries
//	go run -C .ci/policysim . -entries 100,10000 /a.txt  a trace: a key and perhaps a size a line
//	go run -C .ci/policysim . -budget 64000000 /b.gz     the budget in bytes of the trace's sizes
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "policysim:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	entries, budgets []int64
	caches           []cacheKind
	workloads        string
	requests         int
	seed             uint64
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("policysim", flag.ContinueOnError)
	entries := flags.String("entries", "1000", "budgets in entries of the mean size, separated by commas")
	budgets := flags.String("budget", "", "budgets in bytes, instead of -entries")
	caches := flags.String("caches", "", "caches to compare, separated by commas: Bramble, LRU, 2Q, ARC, otter, ristretto, and store, which is all of Bramble's cache (default: all but store)")
	var o options
	flags.StringVar(&o.workloads, "workloads", "", "substring of the names of the synthetic workloads to run (default: all)")
	flags.IntVar(&o.requests, "requests", 0, "requests of a synthetic workload (default: 200 for each entry, 100,000 to 2,000,000)")
	flags.Uint64Var(&o.seed, "seed", 1, "seed of the synthetic workloads")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if o.entries, err = parseNumbers(*entries); err != nil {
		return fmt.Errorf("-entries: %w", err)
	}
	if o.budgets, err = parseNumbers(*budgets); err != nil {
		return fmt.Errorf("-budget: %w", err)
	}
	for _, e := range cacheKinds() {
		if *caches == "" && e.name != "store" || slices.Contains(strings.Split(*caches, ","), e.name) {
			o.caches = append(o.caches, e)
		}
	}
	if len(o.caches) == 0 {
		return fmt.Errorf("-caches: %q names no known cache", *caches)
	}
	printHead(out, o.caches)
	if flags.NArg() == 0 {
		return o.compareWorkloads(out)
	}
	for _, name := range flags.Args() {
		all, err := loadTrace(name)
		if err != nil {
			return err
		}
		if err := o.printComparison(out, filepath.Base(name), all, o.budgetsFor(all)); err != nil {
			return err
		}
	}
	return nil
}

// compareWorkloads compares on the synthetic workloads.
func (o options) compareWorkloads(out io.Writer) error {
	for _, w := range workloads() {
		if !strings.Contains(w.name, o.workloads) {
			continue
		}
		for _, n := range o.entries {
			requests := o.requests
			if requests == 0 {
				requests = int(min(max(200*n, 100_000), 2_000_000))
			}
			all := w.generate(int(n), requests, o.seed)
			if err := o.printComparison(out, w.name, all, []budget{{int64(meanSize(all) * float64(n)), int(n)}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// budgetsFor turns the flags into budgets for a trace.
func (o options) budgetsFor(all []request) []budget {
	var budgets []budget
	m := meanSize(all)
	if len(o.budgets) > 0 {
		for _, bytes := range o.budgets {
			budgets = append(budgets, budget{bytes, max(int(float64(bytes)/m), 1)})
		}
		return budgets
	}
	for _, n := range o.entries {
		budgets = append(budgets, budget{int64(m * float64(n)), int(n)})
	}
	return budgets
}

// meanSize is the mean size of the keys; each counts once.
func meanSize(all []request) float64 {
	seen := make(map[uint64]struct{})
	sum := 0.0
	for _, q := range all {
		if _, ok := seen[q.key]; !ok {
			seen[q.key] = struct{}{}
			sum += float64(q.size)
		}
	}
	return sum / float64(max(len(seen), 1))
}

// ratio is one cache's hit ratio, in percent.
type ratio struct{ requests, bytes float64 }

func (r ratio) String() string {
	if r.requests == r.bytes {
		return fmt.Sprintf("%.1f", r.requests)
	}
	return fmt.Sprintf("%.1f (%.1f)", r.requests, r.bytes)
}

// replay sends all requests to a new cache, one after another.
func replay(e cacheKind, b budget, all []request) (ratio, error) {
	c, err := e.make(b)
	if err != nil {
		return ratio{}, fmt.Errorf("%s: %w", e.name, err)
	}
	defer c.close()
	var hits, hitBytes, bytes int64
	for _, q := range all {
		bytes += q.size
		if c.request(q.key, q.size) {
			hits++
			hitBytes += q.size
		}
	}
	return ratio{100 * float64(hits) / float64(max(len(all), 1)), 100 * float64(hitBytes) / float64(max(bytes, 1))}, nil
}

// printComparison prints a line of the table for each budget.
func (o options) printComparison(out io.Writer, name string, all []request, budgets []budget) error {
	results := make([]ratio, len(budgets)*len(o.caches))
	errs := make([]error, len(results))
	free := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wait sync.WaitGroup
	for i := range results {
		free <- struct{}{}
		wait.Go(func() {
			results[i], errs[i] = replay(o.caches[i%len(o.caches)], budgets[i/len(o.caches)], all)
			<-free
		})
	}
	wait.Wait()
	for i, b := range budgets {
		fmt.Fprintf(out, "| %s | %d |", name, b.entries)
		for j := range o.caches {
			if err := errs[i*len(o.caches)+j]; err != nil {
				return err
			}
			fmt.Fprintf(out, " %v |", results[i*len(o.caches)+j])
		}
		fmt.Fprintln(out)
	}
	return nil
}

// printHead prints the table's head. Figures are hits in percent of the requests,
// and in brackets of the bytes where sizes differ.
func printHead(out io.Writer, caches []cacheKind) {
	line, rule := "| workload | entries |", "|---|---:|"
	for _, e := range caches {
		line += " " + e.name + " |"
		rule += "---:|"
	}
	fmt.Fprintf(out, "%s\n%s\n", line, rule)
}

func parseNumbers(list string) ([]int64, error) {
	var all []int64
	for _, word := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		n, err := strconv.ParseInt(strings.TrimSpace(word), 10, 64)
		if err != nil || n < 1 || n > 1<<40 {
			return nil, fmt.Errorf("%q is not a number from 1 to 2^40", word)
		}
		all = append(all, n)
	}
	return all, nil
}
