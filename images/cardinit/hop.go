package cardinit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A kernel starts another one only if no more than one processor is possible to
// it: a processor that it has started runs in its memory, and on these boards
// cannot be given back to the loop in which the firmware had it wait. So the trial
// of the other slot is a hop on boards with several:
//
//	1  one byte of the running slot's cmdline.txt has it start with one processor
//	2  a restart, through the firmware, which starts that very slot
//	3  its aboard puts the byte back before it does anything else
//	4  and starts the other slot, whose own words let it have all processors:
//	   those that no kernel has started wait in the firmware's loop still
//
// The byte is also the mark that a trial was asked for. There is no second one
// that could be on the card without it, and to put it back is to have tried: what
// comes after that, whatever it is, ends in the running slot with all processors,
// and no version is tried twice by itself.

const (
	// AllCPUsParam is the word in each slot's cmdline.txt of a card for boards with
	// several processors. Four is what all of them have, and more than a first
	// board's kernel asks about. It is spelt as nobody spells it by hand: who writes
	// nr_cpus=1 wants one processor and no trial.
	AllCPUsParam = "nr_cpus=04"
	// oneCPUParam is that word during a hop. It differs in the last byte.
	oneCPUParam = "nr_cpus=01"
	// cpusKey begins both.
	cpusKey = "nr_cpus="
)

// isMultiprocessor reports whether the running kernel might have started more than one
// processor.
func isMultiprocessor(p Paths) bool {
	possible, err := os.ReadFile(filepath.Join(p.Sys, "devices", "system", "cpu", "possible"))
	return err == nil && strings.TrimSpace(string(possible)) != "0"
}

// findParam finds a kernel's word in a line of them: where it begins, -1 if it is
// not there, or there twice.
func findParam(line, word string) int {
	found := -1
	for at := 0; at < len(line); {
		if strings.ContainsRune(" \t\r\n", rune(line[at])) {
			at++
			continue
		}
		length := strings.IndexAny(line[at:], " \t\r\n")
		if length < 0 {
			length = len(line) - at
		}
		if line[at:at+length] == word {
			if found >= 0 {
				return -1
			}
			found = at
		}
		at += length
	}
	return found
}

// replaceParam changes a word of the running slot's cmdline.txt into one that differs
// in the last byte, on the card when it returns. It reports whether the word was
// there.
func (s *Slots) replaceParam(from, to string) (was bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	file := s.filePath(s.running, CmdlineFile)
	line, err := os.ReadFile(file)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrCard, err)
	}
	at := findParam(string(line), from)
	if at < 0 {
		return false, nil
	}
	last := len(to) - 1
	return true, s.overwriteByte(file, int64(at+last), to[last])
}

// hopParamMissing is why a board cannot hop.
func (s *Slots) hopParamMissing() error {
	return fmt.Errorf("%w: the card's %s/%s has no word %s, by which a board of several processors tries a version: write the card anew",
		ErrNotNow, s.running, CmdlineFile, AllCPUsParam)
}

// checkHopParam says whether the running slot's words are such that it can start with one
// processor.
func (s *Slots) checkHopParam() error {
	line, err := os.ReadFile(s.filePath(s.running, CmdlineFile))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCard, err)
	}
	if findParam(string(line), AllCPUsParam) < 0 {
		return s.hopParamMissing()
	}
	return nil
}

// setHopMark has the running slot start with one processor.
func (s *Slots) setHopMark() error {
	was, err := s.replaceParam(AllCPUsParam, oneCPUParam)
	if err == nil && !was {
		err = s.hopParamMissing()
	}
	return err
}

// clearHopMark has the running slot start with all processors again, and reports whether
// it was to start with one.
func (s *Slots) clearHopMark() (was bool, err error) {
	was, err = s.replaceParam(oneCPUParam, AllCPUsParam)
	if errors.Is(err, fs.ErrNotExist) { // it was not started from the card's words
		return false, nil
	}
	return was, err
}

// requestHop is the part of a hop that comes before the restart.
func (a *cardInit) requestHop() error {
	slots, err := OpenSlots(a.System, a.Paths)
	if err != nil {
		return err
	}
	if err := slots.checkComplete(OtherSlot(a.params.Slot)); err != nil {
		return err
	}
	return slots.setHopMark()
}

// completeHop is the part of a hop that comes after the restart. It reports whether the
// machine is to be restarted: it has tried the other slot, or left that to whoever
// starts it. Any other start passes through here too.
func (a *cardInit) completeHop(ctx context.Context) (restart bool) {
	slots, err := OpenSlots(a.System, a.Paths)
	if err != nil {
		a.logf("%v", err)
		return false
	}
	was, err := slots.clearHopMark()
	other := OtherSlot(a.params.Slot)
	switch {
	case err != nil:
		a.logf("%s/%s cannot be put back, so slot %s is not tried: %v", a.params.Slot, CmdlineFile, other, err)
		return false
	case !was:
		return false
	case !a.params.Hop: // the restart did not come about, and this program has started anew
		a.logf("slot %s is not tried: the machine was not restarted", other)
		return false
	}
	a.logf("restarting into slot %s (try)", other)
	a.log.drainConsole(ctx)
	if a.params.NoKexec {
		return true
	}
	if err := a.kexecOtherSlot(); err != nil {
		a.logf("the other slot cannot be started: %v", err)
		a.log.drainConsole(ctx)
	}
	return true
}
