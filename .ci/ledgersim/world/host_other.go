//go:build !wasip1

package main

import "time"

// The world runs in the machine of the package above alone. These let the tools compile it.

func crashCard(_, _, _ int)               { panic("the world runs in ledgersim only") }
func fillVolume(_, _ int, _ int64, _ int) { panic("the world runs in ledgersim only") }
func cardsWith(int) uint64                { panic("the world runs in ledgersim only") }
func printTrace([]byte)                   { panic("the world runs in ledgersim only") }
func skewClock(time.Duration)             { panic("the world runs in ledgersim only") }

type process struct{ isSuspended uint32 }

func enter(*process)        { panic("the world runs in ledgersim only") }
func (p *process) suspend() { panic("the world runs in ledgersim only") }
func (p *process) resume()  { panic("the world runs in ledgersim only") }
