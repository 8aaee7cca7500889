// Package release takes a new version out of a card image: the files of its
// slot, on whatever system the operator has, without mounting anything. An
// image is a stranger's file: everything that it says is checked and bounded.
package release

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"bramble/images/cardinit"
)

const (
	// slot is the one that an image comes with.
	slot = "a"
	// maxBytes bounds the files of a slot together, maxEntries their number.
	maxBytes   = 44 << 20
	maxEntries = 64
	// maxLine bounds a version, and the kernel's words, in bytes.
	maxLine = 2 << 10
	// slotWord is the kernel's word for the slot.
	slotWord = "bramble.slot="
)

// Release is a version with the bytes of its files.
type Release struct {
	cardinit.SlotManifest
	Content map[string][]byte // by name
	cmdline string
}

// ForSlot is the release as one of a card's slots has it: the kernel's words name
// the slot.
func (r Release) ForSlot(slot string) Release {
	words := strings.Fields(r.cmdline)
	for i, w := range words {
		if strings.HasPrefix(w, slotWord) {
			words[i] = slotWord + slot
		}
	}
	out := Release{SlotManifest: cardinit.SlotManifest{Version: r.Version, Files: slices.Clone(r.Files)}, Content: maps.Clone(r.Content)}
	out.addFile(cardinit.CmdlineFile, []byte(strings.Join(words, " ")+"\n"))
	return out
}

// Open reads a card image. Its error matches ErrNoImage if the file is none.
func Open(path string) (Release, error) {
	f, err := os.Open(path)
	if err != nil {
		return Release{}, fmt.Errorf("opening the image: %w", err)
	}
	defer f.Close()
	v, err := openVolume(f)
	if err != nil {
		return Release{}, fmt.Errorf("%s: %w", path, err)
	}
	r, err := v.readSlot()
	if err != nil {
		return Release{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// readSlot reads the slot of an image.
func (v *fatVolume) readSlot() (Release, error) {
	top, err := v.readRoot()
	if err != nil {
		return Release{}, err
	}
	i := slices.IndexFunc(top, func(e entry) bool { return e.folder && strings.EqualFold(e.name, slot) })
	if i < 0 {
		return Release{}, fmt.Errorf("%w: there is no folder %q in its first partition", ErrNoImage, slot)
	}
	files, err := v.readFolder(top[i].first)
	if err != nil {
		return Release{}, err
	}
	if len(files) > maxEntries {
		return Release{}, fmt.Errorf("%w: its slot has %d files", ErrNoImage, len(files))
	}
	found := map[string][]byte{}
	total := int64(0)
	for _, e := range files {
		if e.folder || e.size == 0 {
			continue
		}
		content, err := v.readChain(e.first, e.size, maxBytes-total)
		if err != nil {
			return Release{}, fmt.Errorf("%q: %w", e.name, err)
		}
		total += int64(len(content))
		found[e.name] = content
	}
	return New(found)
}

// New is the release that a slot with these files holds. Its error matches
// ErrNoImage if no board could start it.
func New(slotFiles map[string][]byte) (Release, error) {
	r := Release{Content: map[string][]byte{}}
	for _, name := range slices.Sorted(maps.Keys(slotFiles)) {
		content := slotFiles[name]
		switch name {
		case cardinit.VersionFile:
			r.Version = strings.TrimSpace(string(content[:min(len(content), maxLine)]))
		case cardinit.CmdlineFile:
			r.cmdline = string(content[:min(len(content), maxLine)])
		default:
			r.addFile(name, content)
		}
	}
	if !strings.Contains(r.cmdline, slotWord) {
		return Release{}, fmt.Errorf("%w: the kernel's words in its slot name no slot", ErrNoImage)
	}
	if err := r.ForSlot(slot).Check(); err != nil {
		return Release{}, fmt.Errorf("%w: %w", ErrNoImage, err)
	}
	return r, nil
}

func (r *Release) addFile(name string, content []byte) {
	sum := sha256.Sum256(content)
	r.Content[name] = content
	r.Files = append(r.Files, cardinit.SlotFile{Name: name, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])})
}
