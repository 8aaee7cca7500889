package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/experimental/sysfs"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	wsys "github.com/tetratelabs/wazero/sys"
)

// machine runs the simulated world: the program of ./world, compiled for WebAssembly.
// Everything that the program learns from outside comes from the machine: its random
// numbers from a seed, its clock from a count, its files from memory.
type machine struct {
	runtime wazero.Runtime
	program wazero.CompiledModule
	// cardsLie: a sync does nothing.
	cardsLie bool
}

const (
	// clockStep is the time that passes with each reading of the clock: the scheduler
	// reads it all the time, so it stands for the work in between.
	clockStep = 500 * time.Nanosecond
	// epoch is the time at which each world begins: 1 December 2026.
	epoch = 1_796_083_200
	// maxVirtual limits the virtual time of a world.
	maxVirtual = 15 * time.Minute
	// maxReadings limits the readings of the clock of a world that never sleeps.
	maxReadings = 100_000_000
)

// newMachine compiles the world. cache is a directory for wazero's compiled code, or "".
// faults change its source on purpose; there are none outside the tests.
func newMachine(ctx context.Context, cache string, faults ...fault) (*machine, error) {
	program, err := buildWorld(faults)
	if err != nil {
		return nil, err
	}
	config := wazero.NewRuntimeConfigCompiler()
	if cache != "" {
		c, err := wazero.NewCompilationCacheWithDir(cache)
		if err != nil {
			return nil, err
		}
		config = config.WithCompilationCache(c)
	}
	r := wazero.NewRuntimeWithConfig(ctx, config)
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	_, err = r.NewHostModuleBuilder("sim").
		NewFunctionBuilder().WithFunc(func(ctx context.Context, card, run, kind uint32) {
		w := worldOf(ctx)
		w.disks.crash(volumeName(card, run), volumeName(card, run+1), crashKind(kind), w.rng)
	}).Export("crash").
		NewFunctionBuilder().WithFunc(func(ctx context.Context, card, run uint32, free int64, kind uint32) {
		worldOf(ctx).disks.fill(volumeName(card, run), free, fillKind(kind))
	}).Export("fill").
		NewFunctionBuilder().WithFunc(func(ctx context.Context, m api.Module, at, n uint32, size int64) {
		if b, ok := m.Memory().Read(at, n); ok {
			worldOf(ctx).disks.reserve(string(b), size)
		}
	}).Export("reserve").
		NewFunctionBuilder().WithFunc(func(ctx context.Context, order uint32) uint64 {
		return worldOf(ctx).disks.holders(order)
	}).Export("holders").
		NewFunctionBuilder().WithFunc(func(ctx context.Context, ns int64) {
		worldOf(ctx).skew = time.Duration(ns)
	}).Export("skew").
		NewFunctionBuilder().WithFunc(func(ctx context.Context, m api.Module, at, n uint32) {
		if b, ok := m.Memory().Read(at, n); ok {
			worldOf(ctx).printTrace(b)
		}
	}).Export("trace").
		Instantiate(ctx)
	if err != nil {
		return nil, err
	}
	compiled, err := r.CompileModule(experimental.WithCompilationWorkers(ctx, 2), program)
	if err != nil {
		return nil, fmt.Errorf("compile the world: %w", err)
	}
	return &machine{runtime: r, program: compiled}, nil
}

func volumeName(card, run uint32) string { return fmt.Sprintf("%d.%d", card, run) }

// fault is a change of one source file.
type fault struct{ file, from, to string }

// buildWorld compiles the package ./world for WebAssembly.
func buildWorld(faults []fault) ([]byte, error) {
	dir, err := os.MkdirTemp("", "ledgersim-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	changes, err := systemChanges()
	if err != nil {
		return nil, err
	}
	overlay, err := writeOverlay(dir, append(changes, faults...))
	if err != nil {
		return nil, err
	}
	out := filepath.Join(dir, "world.wasm")
	c := exec.Command("go", "build", "-overlay", overlay, "-o", out, "ledgersim/world")
	c.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	if text, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the world: %w\n%s", err, text)
	}
	return os.ReadFile(out)
}

// systemChanges is what the world needs of its system besides WebAssembly's.
//
// A board stands still: a goroutine is not run while the first word of what its profiler label
// points to is set (process of ./world). Whatever it waits for happens meanwhile, and it is
// late, as a process after SIGSTOP and SIGCONT. Goroutines inherit the label.
//
// A card is full: the program sees ENOSPC for errNoSpace, and reserves space as on Linux.
func systemChanges() ([]fault, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("find the Go sources: %w", err)
	}
	ledger, err := exec.Command("go", "list", "-f", "{{.Dir}}", "bramble/cluster/ledger").Output()
	if err != nil {
		return nil, fmt.Errorf("find the ledger's sources: %w", err)
	}
	sources := filepath.Join(strings.TrimSpace(string(root)), "src")
	proc := filepath.Join(sources, "runtime", "proc.go")
	reserve := filepath.Join(strings.TrimSpace(string(ledger)), "reserve_other.go")
	return []fault{
		{filepath.Join(sources, "syscall", "tables_wasip1.go"), "	case EINVAL:\n		return errEINVAL", `	case ENOTSOCK:
		e = ENOSPC
	case EINVAL:
		return errEINVAL`},
		{reserve, `import "os"`, "import (\n\t\"os\"\n\t\"unsafe\"\n)"},
		{reserve, "func reserveSpace(*os.File, int64) {}", `//
//go:wasmimport sim reserve
func simReserve(path unsafe.Pointer, n uint32, size int64)

func reserveSpace(f *os.File, n int64) {
	path := f.Name()
	simReserve(unsafe.Pointer(unsafe.StringData(path)), uint32(len(path)), n)
}`},
		{proc, "\tif sched.disable.user && !schedEnabled(gp) {\n\t\t// Scheduling", `	if gp.labels != nil && *(*uint32)(gp.labels) != 0 {
		simSuspended.pushBack(gp)
		goto top
	}

	if sched.disable.user && !schedEnabled(gp) {
		// Scheduling`},
		{proc, "\nfunc schedule() {", `
var simSuspended gQueue

//go:linkname simResume
func simResume() {
	for !simSuspended.empty() {
		runqput(getg().m.p.ptr(), simSuspended.pop(), false)
	}
}

func schedule() {`},
	}, nil
}

// writeOverlay writes the changed files, and the list of them for go build -overlay.
func writeOverlay(dir string, faults []fault) (list string, err error) {
	replace := map[string]string{}
	for i, f := range faults {
		from := f.file
		if changed, again := replace[f.file]; again {
			from = changed
		}
		b, err := os.ReadFile(from)
		if err != nil {
			return "", err
		}
		if !bytes.Contains(b, []byte(f.from)) {
			return "", fmt.Errorf("%s has no %q any more", f.file, f.from)
		}
		to := filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(to, bytes.ReplaceAll(b, []byte(f.from), []byte(f.to)), 0o644); err != nil {
			return "", err
		}
		replace[f.file] = to
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	list = filepath.Join(dir, "overlay.json")
	return list, os.WriteFile(list, b, 0o644)
}

// runningWorld is one run of the program.
type runningWorld struct {
	disks    *disks
	rng      *rand.Rand // of the disks
	digest   hash.Hash
	trace    io.Writer // may be nil
	now      time.Duration
	skew     time.Duration // of the wall clock, while a board reads its own
	readings int
}

type worldKey struct{}

func worldOf(ctx context.Context) *runningWorld { return ctx.Value(worldKey{}).(*runningWorld) }

// result is what one run found.
type result struct {
	// Digest is over the trace, every write and sync, and the clock at the end: two runs
	// with the same digest did the same.
	Digest  string
	Virtual time.Duration
	Output  string // the world's summary, and its failures
	Err     error  // why the run failed, nil if every check held
}

// errCheck: the world ended, and a check did not hold.
var errCheck = errors.New("a check does not hold")

// run runs one world: a random one, or a named scenario. The arguments of the program are
// always the same but for these two, because they are in its memory.
func (m *machine) run(ctx context.Context, seed uint64, scenario string, trace io.Writer) result {
	digest := sha256.New()
	w := &runningWorld{disks: newDisks(digest), rng: rand.New(rand.NewPCG(seed, 1)), digest: digest, trace: trace}
	w.disks.lie = m.cardsLie
	ctx = context.WithValue(ctx, worldKey{}, w)
	var out bytes.Buffer
	config := wazero.NewModuleConfig().WithName("").WithStdout(&out).WithStderr(&out).
		WithArgs("world", "-seed", fmt.Sprint(seed), "-scenario", scenario).
		WithEnv("GOGC", "2000").
		WithRandSource(newRandomBytes(seed)).
		WithNanotime(w.nanotime, 1).
		WithWalltime(func() (int64, int32) {
			t := w.nanotime() + int64(w.skew)
			return epoch + t/1e9, int32(t % 1e9)
		}, 1).
		WithNanosleep(w.sleep).WithOsyield(func() { w.sleep(int64(clockStep)) }).
		WithFSConfig(wazero.NewFSConfig().(sysfs.FSConfig).WithSysFSMount(w.disks, "/"))
	module, err := m.runtime.InstantiateModule(ctx, m.program, config)
	if module != nil {
		module.Close(ctx)
	}
	var exit *wsys.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == 0:
		err = nil
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		err = errCheck
	case err != nil:
		err = fmt.Errorf("the world broke: %w", err)
	}
	fmt.Fprintf(digest, "%d %d\n%s", w.now, w.readings, out.Bytes())
	return result{fmt.Sprintf("%x", digest.Sum(nil)[:8]), w.now, out.String(), err}
}

// nanotime reads the virtual clock.
func (w *runningWorld) nanotime() int64 {
	w.readings++
	w.now += clockStep
	if w.readings > maxReadings || w.now > maxVirtual {
		panic(fmt.Sprintf("the world does not end: %v, %d readings of the clock", w.now, w.readings))
	}
	return int64(w.now)
}

// sleep is called when every goroutine of the world waits: the time jumps.
func (w *runningWorld) sleep(ns int64) { w.now += time.Duration(max(0, ns)) }

func (w *runningWorld) printTrace(b []byte) {
	fmt.Fprintf(w.digest, "%d ", w.now)
	w.digest.Write(b)
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%10.6f ", w.now.Seconds())
		w.trace.Write(b)
	}
}

// randomBytes is the source of everything that is random in the world: keys of the Go
// scheduler, select, maps, math/rand and crypto/rand.
type randomBytes struct{ *rand.ChaCha8 }

func newRandomBytes(seed uint64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return randomBytes{rand.NewChaCha8(key)}
}
