package cardinit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// checkInstallable refuses, before anything of the card is touched, a release that this board
// could not start, could not try, or has no room for in its other slot.
func (s *Slots) checkInstallable(r SlotManifest, other string) error {
	if kernel := s.kernelFile(); !slices.ContainsFunc(r.Files, func(f SlotFile) bool { return f.Name == kernel }) {
		return fmt.Errorf("%w: it is for first boards alone, without this one's %s: make the image with --later", ErrRefused, kernel)
	}
	if isMultiprocessor(s.paths) {
		if err := s.checkHopParam(); err != nil {
			return err
		}
	}
	return s.checkRoom(r, other)
}

// checkRoom refuses a release that a slot's part of the card has no room for: a card that
// was made for first boards alone, or for fewer kernels, is smaller.
func (s *Slots) checkRoom(r SlotManifest, slot string) error {
	free, piece, err := s.system.FreeSpace(s.paths.Boot)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCard, err)
	}
	whole := func(size int64) int64 { return (size + piece - 1) / piece * piece }
	entries, err := os.ReadDir(filepath.Join(s.paths.Boot, slot))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrCard, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && isSlotFile(e.Name()) {
			free += whole(info.Size()) // it is written over, or deleted
		}
	}
	need := whole(maxVersion)
	for _, f := range r.Files {
		need += whole(f.Size)
	}
	if need > free {
		return fmt.Errorf("%w: it needs %d KB of the card's first partition, and a slot has %d: write the card anew", ErrRefused, need/1000, free/1000)
	}
	return nil
}
