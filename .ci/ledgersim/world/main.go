// Command world is the simulated rack: boards that run the real ledger, on a network, on
// cards and with clocks that a seed disturbs. It runs in the machine of ledgersim, which
// compiles it for WebAssembly.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
)

func main() {
	seed := flag.Uint64("seed", 1, "the seed")
	name := flag.String("scenario", "", "a named scenario instead of a random one")
	flag.Parse()
	w := newWorld(*seed)
	switch *name {
	case "":
		w.runRandom()
	case "list":
		for _, s := range scenarios {
			fmt.Println(s.name)
		}
		return
	default:
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == *name })
		if i < 0 {
			fmt.Println("there is no scenario", *name)
			os.Exit(2)
		}
		scenarios[i].run(w)
	}
	w.report()
	if len(w.failures) > 0 {
		os.Exit(1)
	}
}
