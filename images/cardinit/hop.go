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
	// AllProcessors is the word in each slot's cmdline.txt of a card for boards with
	// several processors. Four is what all of them have, and more than a first
	// board's kernel asks about. It is spelt as nobody spells it by hand: who writes
	// nr_cpus=1 wants one processor and no trial.
	AllProcessors = "nr_cpus=04"
	// oneProcessor is that word during a hop. It differs in the last byte.
	oneProcessor = "nr_cpus=01"
	// processorsKey begins both.
	processorsKey = "nr_cpus="
)

// several reports whether the running kernel might have started more than one
// processor.
func several(p Paths) bool {
	possible, err := os.ReadFile(filepath.Join(p.Sys, "devices", "system", "cpu", "possible"))
	return err == nil && strings.TrimSpace(string(possible)) != "0"
}

// findWord finds a kernel's word in a line of them: where it begins, -1 if it is
// not there, or there twice.
func findWord(line, word string) int {
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

// turnWord changes a word of the running slot's cmdline.txt into one that differs
// in the last byte, on the card when it returns. It reports whether the word was
// there.
func (s *Slots) turnWord(from, to string) (was bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	file := s.file(s.running, CmdlineFile)
	line, err := os.ReadFile(file)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrCard, err)
	}
	at := findWord(string(line), from)
	if at < 0 {
		return false, nil
	}
	last := len(to) - 1
	return true, s.change(file, int64(at+last), to[last])
}

// noWord is why a board cannot hop.
func (s *Slots) noWord() error {
	return fmt.Errorf("%w: the card's %s/%s has no word %s, by which a board of several processors tries a version: write the card anew",
		ErrNotNow, s.running, CmdlineFile, AllProcessors)
}

// hops says whether the running slot's words are such that it can start with one
// processor.
func (s *Slots) hops() error {
	line, err := os.ReadFile(s.file(s.running, CmdlineFile))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCard, err)
	}
	if findWord(string(line), AllProcessors) < 0 {
		return s.noWord()
	}
	return nil
}

// askHop has the running slot start with one processor.
func (s *Slots) askHop() error {
	was, err := s.turnWord(AllProcessors, oneProcessor)
	if err == nil && !was {
		err = s.noWord()
	}
	return err
}

// land has the running slot start with all processors again, and reports whether
// it was to start with one.
func (s *Slots) land() (was bool, err error) {
	was, err = s.turnWord(oneProcessor, AllProcessors)
	if errors.Is(err, fs.ErrNotExist) { // it was not started from the card's words
		return false, nil
	}
	return was, err
}

// hop is the part of a hop that comes before the restart.
func (a *aboard) hop() error {
	slots, err := OpenSlots(a.Machine, a.Paths)
	if err != nil {
		return err
	}
	if err := slots.whole(OtherSlot(a.words.Slot)); err != nil {
		return err
	}
	return slots.askHop()
}

// landed is the part of a hop that comes after the restart. It reports whether the
// machine is to be restarted: it has tried the other slot, or left that to whoever
// starts it. Any other start passes through here too.
func (a *aboard) landed(ctx context.Context) (restart bool) {
	slots, err := OpenSlots(a.Machine, a.Paths)
	if err != nil {
		a.say("%v", err)
		return false
	}
	was, err := slots.land()
	other := OtherSlot(a.words.Slot)
	switch {
	case err != nil:
		a.say("%s/%s cannot be put back, so slot %s is not tried: %v", a.words.Slot, CmdlineFile, other, err)
		return false
	case !was:
		return false
	case !a.words.Hop: // the restart did not come about, and this program has started anew
		a.say("slot %s is not tried: the machine was not restarted", other)
		return false
	}
	a.say("restarting into slot %s (try)", other)
	a.log.settle(ctx)
	if a.words.NoKexec {
		return true
	}
	if err := a.tryOther(); err != nil {
		a.say("the other slot cannot be started: %v", err)
		a.log.settle(ctx)
	}
	return true
}
