package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
)

// Cards that go back: an older copy of one is put back, or a card loses the synced end of
// the log. Its board is the server that it was, and has forgotten. So the card counts as
// lost, until its board begins a new life with it.

// hello is a call by which another board learns of a board's newest start.
const hello = "hello"

// sight is what one card holds of another: that its board has started.
type sight struct{ of, by *card }

// noteSeen notes that a board's start is known on another board's card.
func (w *world) noteSeen(of, by *boardRun) {
	if len(of.voters) > 0 && !by.isDead {
		w.seen[sight{of.card, by.card}] = of.card.run
	}
}

// isSeen reports whether all other boards know the present start of a board: then none of
// them takes a copy of before that start for it.
func (w *world) isSeen(s *site) bool {
	for _, o := range w.sites {
		if o != s && w.seen[sight{s.card, o.card}] != s.card.run {
			return false
		}
	}
	return true
}

// imageCard keeps a copy of the card of a board that is off.
func (w *world) imageCard(s *site) {
	s.image, s.imageOf = w.newCard(), s.card
	s.image.isLost = true
	w.must(copyTree(s.image.dir(), s.card.dir()))
	w.logf("card %d is a copy of card %d", s.image.number, s.card.number)
}

// putBack gives a board that is off the copy of its card.
func (w *world) putBack(s *site) {
	w.did("older card put back")
	w.logf("the copy of the card of %s is put back", s.name)
	s.card.isLost = true
	s.card, s.image = s.image, nil
}

// isLevel reports whether all boards are on, and have the same entries.
func (w *world) isLevel() bool {
	for _, s := range w.sites {
		if s.run == nil || s.run.isSuspended != 0 || s.run.Status().LastEntry != w.sites[0].run.Status().LastEntry {
			return false
		}
	}
	return true
}

// cutLog removes the last commits from the log of a board that is off, though they were
// synced. The mark that shows it may be as old as the card.
func (w *world) cutLog(s *site, commits int, withMark bool) {
	w.takeAsNewCard(s)
	s.card.isLost, s.card.mayForget = withMark, withMark
	now := filepath.Join(s.card.dir(), "now")
	files, err := filepath.Glob(filepath.Join(now, "*", "*.wal"))
	w.must(err)
	if len(files) == 0 {
		return
	}
	last := files[len(files)-1]
	b, err := os.ReadFile(last)
	w.must(err)
	if len(b) < 32 {
		return // a power cut left it without its header
	}
	ends := []int{32} // after the header, and after each commit
	for at := 32; at+8 <= len(b) && b[at] != 0; {
		n := (int(binary.LittleEndian.Uint32(b[at+4:])) + 7) &^ 7
		if b[at] == 3 { // a commit has a checksum there
			n = 0
			ends = append(ends, at+8)
		}
		at += 8 + n
	}
	clear(b[ends[max(0, len(ends)-1-commits)]:])
	w.must(writeSynced(last, b))
	if withMark {
		mark := make([]byte, 1024) // two slots of before the first entry
		for slot := range 2 {
			m := mark[512*slot:]
			m[0] = byte(slot)
			binary.LittleEndian.PutUint32(m[32:], crc32.Checksum(m[:32], crc32.MakeTable(crc32.Castagnoli)))
		}
		w.must(writeSynced(filepath.Join(now, "high-mark"), mark))
	}
	w.did("synced log cut off")
	w.logf("%s loses the last %d of %d commits of %s, and its mark: %v", s.name, commits, len(ends)-1, last, withMark)
}

// writeSynced replaces a file's bytes.
func writeSynced(path string, b []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(bytes.TrimRight(b, "\x00")) // a log is mostly zeros
	return errors.Join(err, f.Truncate(int64(len(b))), f.Sync(), f.Close())
}
