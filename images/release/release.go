// Package release reads a new version from a card image: the files of its slot. It
// runs on every operating system and mounts nothing. An image is untrusted input: every
// field is checked and bounded.
package release

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"bramble/images/cardinit"
)

const (
	// slot is the slot that an image fills.
	slot = "a"
	// maxBytes bounds the files of a slot together, maxEntries their number.
	maxBytes   = 44 << 20
	maxEntries = 64
	// maxText bounds a version, the kernel parameters, and slot.sig, the longest, in bytes.
	maxText = 48 << 10
	// slotParam is the kernel parameter for the slot.
	slotParam = "bramble.slot="
)

// Release is a version with the bytes of its files. If it is not signed, its Signature is "".
type Release struct {
	cardinit.SlotManifest
	Content map[string][]byte // by name
	cmdline string
}

// ForSlot returns the release for one of a card's slots: the kernel parameters name the
// slot.
func (r Release) ForSlot(slot string) Release {
	params := strings.Fields(r.cmdline)
	for i, p := range params {
		if strings.HasPrefix(p, slotParam) {
			params[i] = slotParam + slot
		}
	}
	out := Release{SlotManifest: cardinit.SlotManifest{Version: r.Version, Files: slices.Clone(r.Files), Signature: r.Signature}, Content: maps.Clone(r.Content)}
	out.addFile(cardinit.CmdlineFile, []byte(strings.Join(params, " ")+"\n"))
	return out
}

// Statement returns what a signature must cover, for both slots.
func (r Release) Statement(released time.Time) cardinit.Statement {
	s := cardinit.Statement{Version: r.Version, Released: released, Files: slices.Clone(r.Files)}
	for _, name := range []string{slot, cardinit.OtherSlot(slot)} {
		f := r.ForSlot(name).Files[len(r.Files)] // the kernel parameters, which ForSlot adds
		s.Files = append(s.Files, cardinit.SlotFile{Name: name + "/" + f.Name, Size: f.Size, SHA256: f.SHA256})
	}
	return s
}

// Open reads a card image. Its error matches ErrNoImage if the file is not one.
func Open(path string) (Release, error) {
	f, err := os.Open(path)
	if err != nil {
		return Release{}, fmt.Errorf("opening the image: %w", err)
	}
	defer f.Close()
	var r Release
	v, err := openVolume(f)
	if err == nil {
		r, err = v.readSlot()
	}
	if err != nil {
		return Release{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func (f *fatVolume) readSlot() (Release, error) {
	top, err := f.readFolder(f.root)
	if err != nil {
		return Release{}, err
	}
	i := slices.IndexFunc(top, func(e entry) bool { return e.folder && strings.EqualFold(e.name, slot) })
	if i < 0 {
		return Release{}, fmt.Errorf("%w: there is no folder %q in its first partition", ErrNoImage, slot)
	}
	files, err := f.readFolder(top[i].first)
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
		content, err := f.readChain(e.first, e.size, maxBytes-total)
		if err != nil {
			return Release{}, fmt.Errorf("%q: %w", e.name, err)
		}
		total += int64(len(content))
		found[e.name] = content
	}
	return New(found)
}

// New returns the release that consists of a slot's files. Its error matches ErrNoImage if
// no board could start it.
func New(slotFiles map[string][]byte) (Release, error) {
	r := Release{Content: map[string][]byte{}}
	for _, name := range slices.Sorted(maps.Keys(slotFiles)) {
		content := slotFiles[name]
		switch name {
		case cardinit.VersionFile:
			r.Version = strings.TrimSpace(string(content[:min(len(content), maxText)]))
		case cardinit.SignatureFile:
			r.Signature = string(content[:min(len(content), maxText)])
		case cardinit.CmdlineFile:
			r.cmdline = string(content[:min(len(content), maxText)])
		default:
			r.addFile(name, content)
		}
	}
	if !strings.Contains(r.cmdline, slotParam) {
		return Release{}, fmt.Errorf("%w: the kernel parameters in its slot name no slot", ErrNoImage)
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
