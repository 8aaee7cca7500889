package cardinit

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// A card has two slots, each with all that is started: kernel, start-up file
// system, device trees, kernel words, and a line with its version. config.txt
// names the one that the firmware starts. An update goes
//
//	Begin   the other slot's slot.txt is deleted: it is no version any more;
//	        what the running slot has too is copied from there
//	Put     each further file is written there, synced, and its SHA-256 compared
//	Try     slot.txt is written, and the slot started out of the running kernel
//	        (hop.go: or of the same one after a restart)
//	Commit  one byte of config.txt is changed in place
//
// and a power cut between any two of these steps starts the slot of config.txt,
// which is whole: nothing writes to it, and nothing else is ever started by the
// firmware.

// Files of a slot.
const (
	KernelFile = "vmlinuz"
	// ARMv7KernelFile and WideKernelFile are the kernels of boards that came after the
	// first, on a card that is for them too: of 32 bits and of 64.
	ARMv7KernelFile  = "vmlinuz7"
	ARM64KernelFile  = "vmlinuz8"
	InitrdFile       = "initrd.img"
	CmdlineFile      = "cmdline.txt"
	VersionFile      = "slot.txt"
	deviceTreeSuffix = ".dtb"
)

const (
	// maxSlotFiles and maxSlotBytes bound a slot: the largest card has room for two.
	maxSlotFiles = 32
	maxSlotBytes = 44 << 20
	maxVersion   = 80
	configFile   = "config.txt"
	prefixKey    = "os_prefix="
)

// Kinds of error of an update; match them with errors.Is.
var (
	ErrNotNow  = errors.New("not now")                 // the card's state forbids it
	ErrRefused = errors.New("not a slot's file")       // a name, size or sum that no slot has
	ErrCard    = errors.New("the card cannot do that") // reading or writing it failed
)

// SlotFile is one file of a slot.
type SlotFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // 64 hex digits
}

// SlotManifest is all that a slot is to hold, without slot.txt.
type SlotManifest struct {
	Version string     `json:"version"` // one line
	Files   []SlotFile `json:"files"`
}

// Check says whether the release is one that a board can start; its error
// matches ErrRefuse.
func (r SlotManifest) Check() error {
	if r.Version == "" || len(r.Version) > maxVersion || replaceControls(r.Version) != r.Version || strings.TrimSpace(r.Version) != r.Version {
		return fmt.Errorf("%w: %q is no version", ErrRefused, r.Version)
	}
	if len(r.Files) > maxSlotFiles {
		return fmt.Errorf("%w: %d files are more than a slot has", ErrRefused, len(r.Files))
	}
	total, seen := int64(0), map[string]bool{}
	for _, f := range r.Files {
		name := strings.ToLower(f.Name)
		sum, err := hex.DecodeString(f.SHA256)
		switch {
		case !isSlotFile(f.Name) || f.Name == VersionFile:
			return fmt.Errorf("%w: %q", ErrRefused, f.Name)
		case seen[name]:
			return fmt.Errorf("%w: %s is there twice", ErrRefused, f.Name)
		case f.Size <= 0 || f.Size > maxSlotBytes:
			return fmt.Errorf("%w: %s has %d bytes", ErrRefused, f.Name, f.Size)
		case err != nil || len(sum) != sha256.Size:
			return fmt.Errorf("%w: %s has no SHA-256", ErrRefused, f.Name)
		}
		seen[name] = true
		total += f.Size
	}
	if total > maxSlotBytes {
		return fmt.Errorf("%w: %d bytes are more than a slot has room for (%d)", ErrRefused, total, maxSlotBytes)
	}
	for _, name := range []string{KernelFile, InitrdFile, CmdlineFile} {
		if !seen[name] {
			return fmt.Errorf("%w: %s is missing", ErrRefused, name)
		}
	}
	return nil
}

// isSlotFile accepts the names of a slot's files, and no path.
func isSlotFile(name string) bool {
	switch name {
	case KernelFile, ARMv7KernelFile, ARM64KernelFile, InitrdFile, CmdlineFile, VersionFile:
		return true
	}
	stem, ok := strings.CutSuffix(name, deviceTreeSuffix)
	return ok && stem != "" && len(stem) < 60 && strings.Trim(stem, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// SlotState is what a card says of its slots.
type SlotState struct {
	Running string `json:"running"`         // "a" or "b"
	Version string `json:"version"`         // of the running slot
	Trial   bool   `json:"trial"`           // it runs, but is not what the firmware starts
	Other   string `json:"other,omitempty"` // version of the other slot, "" if it is not whole
}

// Slots are the two slots of a card. Its methods may be called from any
// goroutine; one is carried out at a time.
type Slots struct {
	system  System
	paths   Paths
	running string

	mu sync.Mutex // a slot is read or written by one at a time
}

// OpenSlots finds out which slot runs.
func OpenSlots(m System, p Paths) (*Slots, error) {
	line, err := os.ReadFile(filepath.Join(p.Proc, "cmdline"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCard, err)
	}
	return &Slots{system: m, paths: p, running: parseCmdline(string(line)).Slot}, nil
}

// OtherSlot is the one of a card's two slots, "a" and "b", that the named one is not.
func OtherSlot(slot string) string {
	if slot == "a" {
		return "b"
	}
	return "a"
}

func (s *Slots) filePath(slot, name string) string { return filepath.Join(s.paths.Boot, slot, name) }

// readVersion reads a slot's line, "" if it has none.
func (s *Slots) readVersion(slot string) string {
	text, err := os.ReadFile(s.filePath(slot, VersionFile))
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return replaceControls(strings.TrimSpace(line[:min(len(line), maxVersion)]))
}

// State is what the card says of its slots.
func (s *Slots) State() (SlotState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	starts, _, err := s.findBootSlot()
	if err != nil {
		return SlotState{}, err
	}
	return SlotState{
		Running: s.running, Version: s.readVersion(s.running), Trial: starts != s.running, Other: s.readVersion(OtherSlot(s.running)),
	}, nil
}

// listFiles lists a slot's files.
func (s *Slots) listFiles(slot string) ([]SlotFile, error) {
	entries, err := os.ReadDir(filepath.Join(s.paths.Boot, slot))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCard, err)
	}
	var list []SlotFile
	for _, e := range entries {
		if !isSlotFile(e.Name()) || e.Name() == VersionFile || len(list) == maxSlotFiles {
			continue
		}
		f, err := s.hashFile(slot, e.Name())
		if err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	return list, nil
}

// hashFile reads one file of a slot through.
func (s *Slots) hashFile(slot, name string) (SlotFile, error) {
	f, err := os.Open(s.filePath(slot, name))
	if err != nil {
		return SlotFile{}, fmt.Errorf("%w: %w", ErrCard, err)
	}
	hash := sha256.New()
	n, err := io.Copy(hash, io.LimitReader(f, maxSlotBytes+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return SlotFile{}, fmt.Errorf("%w: %w", ErrCard, err)
	}
	return SlotFile{name, n, hex.EncodeToString(hash.Sum(nil))}, nil
}

// copyFromRunning takes a file of the release from the running slot, if it is the same
// there, and reports whether it did: two versions mostly share their kernel, a
// third of what would be sent. What cannot be copied is sent.
func (s *Slots) copyFromRunning(f SlotFile) bool {
	info, err := os.Stat(s.filePath(s.running, f.Name))
	if err != nil || info.Size() != f.Size {
		return false
	}
	if has, err := s.hashFile(s.running, f.Name); err != nil || has != f {
		return false
	}
	from, err := os.Open(s.filePath(s.running, f.Name))
	if err != nil {
		return false
	}
	err = s.putFile(f, from)
	return errors.Join(err, from.Close()) == nil
}

// findBootSlot is the slot that the firmware starts, and where config.txt says so.
func (s *Slots) findBootSlot() (slot string, at int64, err error) {
	text, err := os.ReadFile(filepath.Join(s.paths.Boot, configFile))
	if err != nil {
		return "", 0, fmt.Errorf("%w: %w", ErrCard, err)
	}
	return parseBootSlot(string(text))
}

// parseBootSlot finds the one line of config.txt that names the slot.
func parseBootSlot(text string) (slot string, at int64, err error) {
	pos, found := 0, 0
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, prefixKey); ok {
			found++
			slot, at = strings.TrimSuffix(strings.TrimSpace(rest), "/"), int64(pos+len(prefixKey))
		}
		pos += len(line)
	}
	if found != 1 || slot != "a" && slot != "b" {
		return "", 0, fmt.Errorf("%w: config.txt has no single line %sa/ or %sb/", ErrCard, prefixKey, prefixKey)
	}
	return slot, at, nil
}

// withBootWritable has the boot partition writable for as long as do runs, and on the card
// what that wrote when it returns.
func (s *Slots) withBootWritable(do func() error) error {
	if err := s.system.Remount(s.paths.Boot, false); err != nil {
		return fmt.Errorf("%w: %w", ErrCard, err)
	}
	err := do()
	s.system.Sync()
	if back := s.system.Remount(s.paths.Boot, true); back != nil {
		err = errors.Join(err, fmt.Errorf("%w: %w", ErrCard, back))
	}
	return err
}

// refuseOnTrial refuses to touch the other slot while it is the one to fall back on.
func (s *Slots) refuseOnTrial() error {
	starts, _, err := s.findBootSlot()
	if err != nil {
		return err
	}
	if starts != s.running {
		return fmt.Errorf("%w: the running version is on trial; the other slot is what it falls back on", ErrNotNow)
	}
	return nil
}

// Begin makes the other slot ready for a release, and returns which of its
// files are still to be sent: what is there already and right is kept, so that
// an update that broke off goes on, and what the running slot has is copied.
func (s *Slots) Begin(r SlotManifest) (missing []SlotFile, err error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseOnTrial(); err != nil {
		return nil, err
	}
	other := OtherSlot(s.running)
	if err := s.checkInstallable(r, other); err != nil {
		return nil, err
	}
	err = s.withBootWritable(func() error {
		if err := os.MkdirAll(filepath.Join(s.paths.Boot, other), 0o755); err != nil {
			return fmt.Errorf("%w: %w", ErrCard, err)
		}
		if err := os.Remove(s.filePath(other, VersionFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w: %w", ErrCard, err)
		}
		s.system.Sync()
		has, err := s.listFiles(other)
		if err != nil {
			return err
		}
		for _, f := range has {
			if !slices.Contains(r.Files, f) {
				if err := os.Remove(s.filePath(other, f.Name)); err != nil {
					return fmt.Errorf("%w: %w", ErrCard, err)
				}
			}
		}
		for _, f := range r.Files {
			if !slices.Contains(has, f) && !s.copyFromRunning(f) {
				missing = append(missing, f)
			}
		}
		return nil
	})
	return missing, err
}

// Put writes one file of the other slot, and has it on the card when it
// returns. A file that is not what it is said to be is not kept.
func (s *Slots) Put(f SlotFile, from io.Reader) error {
	if !isSlotFile(f.Name) || f.Name == VersionFile || f.Size <= 0 || f.Size > maxSlotBytes {
		return fmt.Errorf("%w: %q of %d bytes", ErrRefused, f.Name, f.Size)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseOnTrial(); err != nil {
		return err
	}
	other := OtherSlot(s.running)
	if s.readVersion(other) != "" {
		return fmt.Errorf("%w: no update has begun", ErrNotNow)
	}
	return s.withBootWritable(func() error { return s.putFile(f, from) })
}

// putFile writes one file of the other slot, or leaves none.
func (s *Slots) putFile(f SlotFile, from io.Reader) error {
	name := s.filePath(OtherSlot(s.running), f.Name)
	err := s.receiveFile(name, f, from)
	if err != nil {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

func (s *Slots) receiveFile(name string, f SlotFile, from io.Reader) error {
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCard, err)
	}
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, hash), io.LimitReader(from, f.Size+1))
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("%w: writing %s: %w", ErrCard, f.Name, err)
	}
	if n != f.Size || hex.EncodeToString(hash.Sum(nil)) != f.SHA256 {
		return fmt.Errorf("%w: %s did not arrive as it was sent", ErrRefused, f.Name)
	}
	return nil
}

// Seal reads the other slot back and, if it holds the release and nothing
// else, gives it its version: it can be tried.
func (s *Slots) Seal(r SlotManifest) error {
	if err := r.Check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseOnTrial(); err != nil {
		return err
	}
	other := OtherSlot(s.running)
	has, err := s.listFiles(other)
	if err != nil {
		return err
	}
	for _, f := range r.Files {
		if !slices.Contains(has, f) {
			return fmt.Errorf("%w: %s is not on the card as it should be", ErrNotNow, f.Name)
		}
	}
	if len(has) != len(r.Files) {
		return fmt.Errorf("%w: the slot holds more than the release", ErrNotNow)
	}
	return s.withBootWritable(func() error {
		if err := writeSynced(s.filePath(other, VersionFile), []byte(r.Version+"\n"), os.O_TRUNC); err != nil {
			return fmt.Errorf("%w: %w", ErrCard, err)
		}
		return nil
	})
}

// Commit has the firmware start the running slot from now on, if it runs that
// version. To do it twice is to do it once.
func (s *Slots) Commit(version string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if runs := s.readVersion(s.running); runs != version {
		return fmt.Errorf("%w: the board runs %s and not %s", ErrNotNow, runs, version)
	}
	starts, at, err := s.findBootSlot()
	if err != nil || starts == s.running {
		return err
	}
	return s.overwriteByte(filepath.Join(s.paths.Boot, configFile), at, s.running[0])
}

// overwriteByte has one byte of a file be another one, in place: one sector, which is
// written whole or not at all. To rename another file over it would not do, for
// that has a moment on FAT in which two entries name one chain.
func (s *Slots) overwriteByte(file string, at int64, to byte) error {
	return s.withBootWritable(func() error {
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCard, err)
		}
		_, err = f.WriteAt([]byte{to}, at)
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("%w: %w", ErrCard, err)
		}
		return nil
	})
}

// Committed reports whether the firmware starts the running slot.
func (s *Slots) Committed() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	starts, _, err := s.findBootSlot()
	return starts == s.running, err
}
