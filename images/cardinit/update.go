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
)

// An A/B update goes through these steps:
//
//	Begin   the signature is verified and written; the other slot's slot.txt is deleted, so that
//	        it has no version, and the files that the running slot has too are copied from there
//	Put     each further signed file is written there, synced, and its SHA-256 compared
//	Seal    the other slot is read back and compared, and slot.txt is written
//	try     it is compared again, and started out of the running kernel (trial.go)
//	Commit  one byte of config.txt is changed in place
//
// A power cut between any two of these steps starts the slot of config.txt, which
// is complete: nothing writes to it, and the firmware never starts any other.

// SlotManifest lists everything that a slot must hold, without slot.txt and slot.sig.
type SlotManifest struct {
	Version   string     `json:"version"` // one line
	Files     []SlotFile `json:"files"`
	Signature string     `json:"signature,omitempty"` // the content of slot.sig
}

// Check returns an error that matches ErrRefused if no board could start such a slot.
func (s SlotManifest) Check() error {
	if s.Version == "" || len(s.Version) > maxVersion || replaceControls(s.Version) != s.Version || strings.TrimSpace(s.Version) != s.Version {
		return fmt.Errorf("%w: %q is not a version", ErrRefused, s.Version)
	}
	if len(s.Files) > maxSlotFiles {
		return fmt.Errorf("%w: %d files are more than a slot has", ErrRefused, len(s.Files))
	}
	total, seen := int64(0), map[string]bool{}
	for _, f := range s.Files {
		name := strings.ToLower(f.Name)
		sum, err := hex.DecodeString(f.SHA256)
		switch {
		case !isSlotFile(f.Name):
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

// Begin prepares the other slot for the version of a slot.sig, and returns the files that the
// caller must still Put. Correct files stay, so that an interrupted update goes on, and
// files that the running slot has too are copied.
func (s *Slots) Begin(signed string) (missing []SlotFile, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := s.OpenSigned(signed)
	if err != nil {
		return nil, err
	}
	if err := s.refuseOnTrial(); err != nil {
		return nil, err
	}
	other := OtherSlot(s.running)
	if err := s.checkInstallable(m, other); err != nil {
		return nil, err
	}
	err = s.withBootWritable(func() error {
		if err := os.MkdirAll(filepath.Join(s.paths.Boot, other), 0o755); err != nil {
			return err
		}
		if err := os.Remove(s.filePath(other, VersionFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		s.system.Sync()
		if err := writeSynced(s.filePath(other, SignatureFile), []byte(m.Signature), os.O_TRUNC); err != nil {
			return err
		}
		present, err := s.listFiles(other)
		if err != nil {
			return err
		}
		for _, f := range present {
			if !slices.Contains(m.Files, f) {
				if err := os.Remove(s.filePath(other, f.Name)); err != nil {
					return err
				}
			}
		}
		for _, f := range m.Files {
			if !slices.Contains(present, f) && !s.copyFromRunning(f) {
				missing = append(missing, f)
			}
		}
		return nil
	})
	return missing, err
}

// checkInstallable refuses, before anything of the card is touched, a version that
// this board could not start, could not try, or has no room for.
func (s *Slots) checkInstallable(m SlotManifest, other string) error {
	if kernel := s.kernelKind().file; !slices.ContainsFunc(m.Files, func(f SlotFile) bool { return f.Name == kernel }) {
		return fmt.Errorf("%w: this version is for first boards only, without this board's %s: make the image with --later", ErrRefused, kernel)
	}
	if isMultiprocessor(s.paths) {
		if err := s.checkHopParam(); err != nil {
			return err
		}
	}
	return s.checkRoom(m, other)
}

// checkRoom refuses a version that does not fit into a slot: a card that was made
// for first boards only, or for fewer kernels, is smaller.
func (s *Slots) checkRoom(m SlotManifest, slot string) error {
	free, block, err := s.system.FreeSpace(s.paths.Boot)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCard, err)
	}
	allocated := func(size int64) int64 { return (size + block - 1) / block * block }
	entries, err := os.ReadDir(filepath.Join(s.paths.Boot, slot))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrCard, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && (isSlotFile(e.Name()) || e.Name() == VersionFile || e.Name() == SignatureFile) {
			free += allocated(info.Size()) // it is overwritten or deleted
		}
	}
	need := allocated(maxVersion) + allocated(int64(len(m.Signature)))
	for _, f := range m.Files {
		need += allocated(f.Size)
	}
	if need > free {
		return fmt.Errorf("%w: this version needs %d KB of the card's first partition, and a slot has %d: write the new image to the card", ErrRefused, need/1000, free/1000)
	}
	return nil
}

// copyFromRunning copies a file from the running slot if it is the same there, and
// reports whether it did. Two versions mostly share their kernel, a third of the
// bytes. A file that cannot be copied is sent.
func (s *Slots) copyFromRunning(f SlotFile) bool {
	if same, err := s.hashFile(s.running, f.Name); err != nil || same != f {
		return false
	}
	from, err := os.Open(s.filePath(s.running, f.Name))
	if err != nil {
		return false
	}
	err = s.putFile(f, from)
	return errors.Join(err, from.Close()) == nil
}

// Put writes one file of the other slot. The file is on the card when Put returns.
// If size or hash differ from f, Put deletes it and returns an error.
func (s *Slots) Put(f SlotFile, from io.Reader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseOnTrial(); err != nil {
		return err
	}
	if s.readVersion(OtherSlot(s.running)) != "" {
		return fmt.Errorf("%w: no update has begun", ErrNotNow)
	}
	if m, err := s.openBegun(); err != nil {
		return err
	} else if !slices.Contains(m.Files, f) {
		return fmt.Errorf("%w: %q of %d bytes is no file that was signed", ErrRefused, f.Name, f.Size)
	}
	return s.withBootWritable(func() error { return s.putFile(f, from) })
}

// putFile writes one file of the other slot, or leaves none.
func (s *Slots) putFile(f SlotFile, from io.Reader) error {
	name := s.filePath(OtherSlot(s.running), f.Name)
	err := writeHashed(name, f, from)
	if err != nil {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// writeHashed writes a file, and compares its size and hash with f.
func writeHashed(name string, f SlotFile, from io.Reader) error {
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, hash), io.LimitReader(from, f.Size+1))
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", f.Name, err)
	}
	if n != f.Size || hex.EncodeToString(hash.Sum(nil)) != f.SHA256 {
		return fmt.Errorf("%w: %s arrived damaged", ErrRefused, f.Name)
	}
	return nil
}

// openBegun returns what the other slot must hold, by its slot.sig.
func (s *Slots) openBegun() (SlotManifest, error) {
	signed, err := os.ReadFile(s.filePath(OtherSlot(s.running), SignatureFile))
	if err != nil {
		return SlotManifest{}, fmt.Errorf("%w: no update has begun", ErrNotNow)
	}
	return s.OpenSigned(string(signed))
}

// checkOther reads the other slot back. It must hold the version that was signed, and nothing else.
func (s *Slots) checkOther(version string) error {
	m, err := s.openBegun()
	if err != nil {
		return err
	}
	present, err := s.listFiles(OtherSlot(s.running))
	if err != nil {
		return err
	}
	for _, f := range m.Files {
		if !slices.Contains(present, f) {
			return fmt.Errorf("%w: %s is missing or damaged on the card, or not what was signed", ErrNotNow, f.Name)
		}
	}
	if len(present) != len(m.Files) || m.Version != version {
		return fmt.Errorf("%w: the slot holds %s, or other files too", ErrNotNow, m.Version)
	}
	return nil
}

// Seal reads the other slot back. If it holds a version as it was signed, and nothing else,
// Seal writes its name: it can be tried.
func (s *Slots) Seal(version string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseOnTrial(); err != nil {
		return err
	}
	if err := s.checkOther(version); err != nil {
		return err
	}
	return s.withBootWritable(func() error {
		return writeSynced(s.filePath(OtherSlot(s.running), VersionFile), []byte(version+"\n"), os.O_TRUNC)
	})
}

// Commit makes the firmware start the running slot from now on, if it runs that
// version. A second Commit changes nothing.
func (s *Slots) Commit(version string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if running := s.readVersion(s.running); running != version {
		return fmt.Errorf("%w: the board runs %s and not %s", ErrNotNow, running, version)
	}
	bootSlot, offset, err := s.findBootSlot()
	if err != nil || bootSlot == s.running {
		return err
	}
	return s.overwriteByte(filepath.Join(s.paths.Boot, configFile), offset, s.running[0])
}
