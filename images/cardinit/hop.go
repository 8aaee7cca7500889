package cardinit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Boards with several processors try the other slot by a single-CPU kexec hop (DESIGN.md):
//
//	1  one byte of the running slot's cmdline.txt limits the kernel to one processor
//	2  a restart through the firmware, which starts that same slot
//	3  its init puts the byte back before it does anything else
//	4  and starts the other slot by kexec, whose own parameters allow all processors
//
// The byte is also the mark that a trial was requested, and putting it back is having tried:
// no version is tried twice automatically.

const (
	// AllCPUsParam is the parameter in each slot's cmdline.txt of a card for boards
	// with several processors. All of them have four; a first board's kernel ignores
	// the number. The spelling is unlikely to be written by hand: a person who writes
	// nr_cpus=1 wants one processor and no trial.
	AllCPUsParam = "nr_cpus=04"
	// oneCPUParam replaces it during a hop. It differs in the last byte.
	oneCPUParam = "nr_cpus=01"
	// cpusKey begins both.
	cpusKey = "nr_cpus="
)

// isMultiprocessor reports whether the running kernel may have started more than one
// processor.
func isMultiprocessor(p Paths) bool {
	possible, err := os.ReadFile(filepath.Join(p.Sys, "devices", "system", "cpu", "possible"))
	return err == nil && strings.TrimSpace(string(possible)) != "0"
}

// checkHopParam checks that the running slot can be made to start with one processor.
func (s *Slots) checkHopParam() error {
	line, err := os.ReadFile(s.filePath(s.running, CmdlineFile))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCard, err)
	}
	if findParam(string(line), AllCPUsParam) < 0 {
		return fmt.Errorf("%w: the card's %s/%s lacks the parameter %s, without which a board with several processors cannot try a version: write the new image to the card",
			ErrNotNow, s.running, CmdlineFile, AllCPUsParam)
	}
	return nil
}

// setHopMark makes the running slot start with one processor.
func (s *Slots) setHopMark() error {
	if err := s.checkHopParam(); err != nil {
		return err
	}
	_, err := s.replaceParam(AllCPUsParam, oneCPUParam)
	return err
}

// clearHopMark makes the running slot start with all processors again, and reports
// whether the mark was set.
func (s *Slots) clearHopMark() (wasSet bool, err error) {
	wasSet, err = s.replaceParam(oneCPUParam, AllCPUsParam)
	if errors.Is(err, fs.ErrNotExist) { // it was not started from the card's parameters
		return false, nil
	}
	return wasSet, err
}

// replaceParam replaces a parameter in the running slot's cmdline.txt by one that
// differs in the last byte. The change is on the card when it returns. It reports
// whether the parameter was found.
func (s *Slots) replaceParam(from, to string) (found bool, err error) {
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

// findParam returns the offset of a kernel parameter in a line of them, -1 if it is
// missing or there twice.
func findParam(line, param string) int {
	found := -1
	for _, word := range regexp.MustCompile(`\S+`).FindAllStringIndex(line, -1) {
		if line[word[0]:word[1]] != param {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = word[0]
	}
	return found
}
