package main

import (
	"runtime"
	"time"
	"unsafe"
)

//go:wasmimport sim crash
func hostCrash(card, run, kind uint32)

//go:wasmimport sim holders
func hostHolders(order uint32) uint64

//go:wasmimport sim trace
func hostTrace(at unsafe.Pointer, n uint32)

// crashCard makes the files of a card's next run: what a power cut leaves of this run's.
func crashCard(card, run, kind int) { hostCrash(uint32(card), uint32(run), uint32(kind)) }

// cardsWith returns the cards on which an order ever was durable, as bits.
func cardsWith(order int) uint64 { return hostHolders(uint32(order)) }

// printTrace prints a line to the trace.
func printTrace(line []byte) { hostTrace(unsafe.Pointer(&line[0]), uint32(len(line))) }

//go:wasmimport sim skew
func hostSkew(ns int64)

// skewClock lets the wall clock differ from the monotonic clock.
func skewClock(d time.Duration) { hostSkew(int64(d)) }

//go:wasmimport sim fill
func hostFill(card, run uint32, free int64, kind uint32)

// fillVolume leaves a card's present run free bytes, or any number if free is negative.
func fillVolume(card, run int, free int64, kind int) {
	hostFill(uint32(card), uint32(run), free, uint32(kind))
}

//go:linkname setLabel runtime/pprof.runtime_setProfLabel
func setLabel(label unsafe.Pointer)

//go:linkname resumeAll runtime.simResume
func resumeAll()

// process is what the goroutines of one start of a board share. The machine changes the
// scheduler: it runs none of them while isSuspended is not 0.
type process struct{ isSuspended uint32 }

// enter makes this goroutine one of a process, or of none. It waits while that is suspended.
func enter(p *process) {
	setLabel(unsafe.Pointer(p))
	if p != nil && p.isSuspended != 0 {
		runtime.Gosched()
	}
}

// suspend stops every goroutine of a process where it gives way next.
func (p *process) suspend() { p.isSuspended = 1 }

// resume lets them go on.
func (p *process) resume() {
	p.isSuspended = 0
	resumeAll()
}
