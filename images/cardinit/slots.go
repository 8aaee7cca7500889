package cardinit

import (
	"bytes"
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
	"time"
)

// A card has two slots for A/B updates, the folders a and b of its boot partition.
// Each holds everything that is started: kernels, start-up file system, device
// trees, kernel parameters, and a line with its version. config.txt names the slot
// that the firmware starts. update.go has the steps of an update.

// Files of a slot.
const (
	KernelFile = "vmlinuz" // for the first boards
	// ARMv7KernelFile and ARM64KernelFile are the kernels of later boards, of 32 and of
	// 64 bits, on a card that is for them too.
	ARMv7KernelFile  = "vmlinuz7"
	ARM64KernelFile  = "vmlinuz8"
	InitrdFile       = "initrd.img"
	CmdlineFile      = "cmdline.txt"
	VersionFile      = "slot.txt"
	SignatureFile    = "slot.sig" // about the others (signature.go)
	deviceTreeSuffix = ".dtb"
)

const (
	// maxSlotFiles and maxSlotBytes bound a slot: the largest card has room for two.
	maxSlotFiles = 32
	maxSlotBytes = 44 << 20
	maxVersion   = 80 // bytes
	configFile   = "config.txt"
	prefixKey    = "os_prefix="
)

// Kinds of error of an update; match them with errors.Is.
var (
	ErrNotNow  = errors.New("not now")                 // the card's state forbids it
	ErrRefused = errors.New("not a slot's file")       // no slot has such a name, size or hash
	ErrCard    = errors.New("the card cannot do that") // reading or writing it failed
	// ErrNotAccepted: no key that the board knows has signed the update, or it is too old.
	ErrNotAccepted = errors.New("the board does not accept this update")
)

// SlotFile is one file of a slot.
type SlotFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // 64 hex digits
}

// isSlotFile reports whether a signature covers a slot's file of this name. It accepts no path.
func isSlotFile(name string) bool {
	switch name {
	case KernelFile, ARMv7KernelFile, ARM64KernelFile, InitrdFile, CmdlineFile:
		return true
	}
	stem, ok := strings.CutSuffix(name, deviceTreeSuffix)
	return ok && stem != "" && len(stem) < 60 && strings.Trim(stem, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// SlotState is the state of a card's slots.
type SlotState struct {
	Running string `json:"running"`         // "a" or "b"
	Version string `json:"version"`         // of the running slot
	Trial   bool   `json:"trial"`           // the running slot is not the one that the firmware starts
	Other   string `json:"other,omitempty"` // version of the other slot, "" if it is incomplete
}

// Slots are the two slots of a card. Its methods may be called from any goroutine;
// they run one at a time.
type Slots struct {
	system  System
	paths   Paths
	running string
	owners  []string // the public keys under [update]

	mu sync.Mutex // held by each exported method
}

// OpenSlots finds out which slot runs. It accepts updates by the owners' keys too.
func OpenSlots(system System, p Paths, owners []string) (*Slots, error) {
	params, err := readParams(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCard, err)
	}
	return &Slots{system: system, paths: p, running: params.Slot, owners: owners}, nil
}

// OtherSlot returns the other one of a card's two slots, "a" and "b".
func OtherSlot(slot string) string {
	if slot == "a" {
		return "b"
	}
	return "a"
}

// State returns the state of the card's slots.
func (s *Slots) State() (SlotState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bootSlot, _, err := s.findBootSlot()
	if err != nil {
		return SlotState{}, err
	}
	return SlotState{
		Running: s.running, Version: s.readVersion(s.running), Trial: bootSlot != s.running, Other: s.readVersion(OtherSlot(s.running)),
	}, nil
}

// refuseOnTrial returns an error while the running slot is on trial, because the
// other slot is the one to fall back on.
func (s *Slots) refuseOnTrial() error {
	bootSlot, _, err := s.findBootSlot()
	if err != nil {
		return err
	}
	if bootSlot != s.running {
		return fmt.Errorf("%w: the running version is on trial, and the other slot is its fallback", ErrNotNow)
	}
	return nil
}

// findBootSlot returns the slot that the firmware starts, and the offset of its
// letter in config.txt.
func (s *Slots) findBootSlot() (slot string, offset int64, err error) {
	text, err := os.ReadFile(filepath.Join(s.paths.Boot, configFile))
	if err != nil {
		return "", 0, fmt.Errorf("%w: %w", ErrCard, err)
	}
	return parseBootSlot(string(text))
}

// parseBootSlot finds the one line of config.txt that names the slot.
func parseBootSlot(text string) (slot string, offset int64, err error) {
	pos, found := 0, 0
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, prefixKey); ok {
			found++
			slot, offset = strings.TrimSuffix(strings.TrimSpace(rest), "/"), int64(pos+len(prefixKey))
		}
		pos += len(line)
	}
	if found != 1 || slot != "a" && slot != "b" {
		return "", 0, fmt.Errorf("%w: config.txt must have one line %sa/ or %sb/", ErrCard, prefixKey, prefixKey)
	}
	return slot, offset, nil
}

func (s *Slots) filePath(slot, name string) string { return filepath.Join(s.paths.Boot, slot, name) }

// readVersion reads a slot's version, "" if it has none.
func (s *Slots) readVersion(slot string) string {
	text, err := os.ReadFile(s.filePath(slot, VersionFile))
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return replaceControls(strings.TrimSpace(line[:min(len(line), maxVersion)]))
}

// readReleased returns when the running version was released; zero if it is not signed.
func (s *Slots) readReleased() time.Time {
	signed, _ := os.ReadFile(s.filePath(s.running, SignatureFile))
	st, _ := ParseStatement(string(signed))
	return st.Released
}

// listFiles lists a slot's files with their hashes, without slot.txt and slot.sig.
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
		if !isSlotFile(e.Name()) || len(list) == maxSlotFiles {
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

// withBootWritable makes the boot partition writable while it runs do. What do has
// written is on the card when it returns. An error of do is ErrCard unless it is ErrRefused.
func (s *Slots) withBootWritable(do func() error) error {
	if err := s.system.Remount(s.paths.Boot, false); err != nil {
		return fmt.Errorf("%w: %w", ErrCard, err)
	}
	err := do()
	s.system.Sync()
	if err = errors.Join(err, s.system.Remount(s.paths.Boot, true)); err != nil && !errors.Is(err, ErrRefused) {
		return fmt.Errorf("%w: %w", ErrCard, err)
	}
	return err
}

// settingsEnd ends a new version of the settings that is complete.
const settingsEnd = "\n# This file is complete.\n"

// ReplaceSettings replaces the settings file; nil completes an earlier replacement that a power cut
// ended, if there is one. A rename would not do (overwriteByte), and writing over the file can leave
// a part of it: so there is a complete copy meanwhile, which SettingsFile prefers.
func (s *Slots) ReplaceSettings(text []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	whole := s.paths.newSettings()
	if text == nil && s.paths.SettingsFile() != whole {
		return nil
	}
	return s.withBootWritable(func() (err error) {
		if text == nil {
			text, err = os.ReadFile(whole)
			text = bytes.TrimSuffix(text, []byte(settingsEnd))
		} else {
			err = writeSynced(whole, slices.Concat(text, []byte(settingsEnd)), os.O_TRUNC)
			s.system.Sync()
		}
		if err == nil {
			err = writeSynced(filepath.Join(s.paths.Boot, "bramble.toml"), text, os.O_TRUNC)
			s.system.Sync()
		}
		if err == nil {
			err = os.Remove(whole)
		}
		return err
	})
}

// overwriteByte changes one byte of a file in place: one sector, which is written
// completely or not at all. Renaming another file over it would not do: FAT then has
// a moment in which two entries share one chain.
func (s *Slots) overwriteByte(file string, offset int64, to byte) error {
	return s.withBootWritable(func() error {
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte{to}, offset)
		return errors.Join(err, f.Sync(), f.Close())
	})
}
