package cardinit

import (
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"
)

// table returns a boot record with two partitions, in sectors.
func table(first, second partitionSpan) []byte {
	mbr := make([]byte, sectorSize)
	mbr[mbrBoot], mbr[mbrBoot+1] = 0x55, 0xaa
	for i, s := range []partitionSpan{first, second} {
		entry := mbr[mbrTable+i*mbrEntry:]
		entry[mbrType] = []byte{0x0c, linuxType}[i]
		binary.LittleEndian.PutUint32(entry[mbrStart:], s.start)
		binary.LittleEndian.PutUint32(entry[mbrLength:], s.length)
	}
	return mbr
}

func TestGrowEntry(t *testing.T) {
	good := table(partitionSpan{8192, 90112}, partitionSpan{98304, 24576})
	for _, tt := range []struct {
		name    string
		mbr     []byte
		sectors int64
		length  uint32
		changed bool
		bad     bool
	}{
		{"a card of 4 GB", good, 7_744_512, 7_741_440 - 98304, true, false},
		{"the image's own size", good, 122_880, 24576, false, false},
		{"a card that is too small", good, 100_000, 24576, false, false},
		{"a little more, below an erase block", good, 122_880 + 100, 24576, false, false},
		{"beyond what a table can say", good, 1 << 40, maxSectors/cardAlign*cardAlign - 98304, true, false},
		{"no signature", make([]byte, sectorSize), 1 << 20, 0, false, true},
		{"one partition", table(partitionSpan{8192, 100}, partitionSpan{}), 1 << 20, 0, false, true},
		{"the first lies behind", table(partitionSpan{200_000, 100}, partitionSpan{98304, 24576}), 1 << 20, 0, false, true},
		{"half a sector", good[:100], 1 << 20, 0, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, s, changed, err := growEntry(tt.mbr, dataPartNumber, tt.sectors)
			if tt.bad {
				if !errors.Is(err, errNoPartition) {
					t.Errorf("no error: %+v, %v", s, err)
				}
				return
			}
			if err != nil || s.length != tt.length || changed != tt.changed {
				t.Fatalf("%+v, %v, %v", s, changed, err)
			}
			again, s2, changed, err := growEntry(out, dataPartNumber, tt.sectors)
			if err != nil || changed || s2 != s || string(again) != string(out) {
				t.Errorf("growing again changes it: %+v, %v", s2, err)
			}
			if string(out[:mbrTable+mbrEntry]) != string(tt.mbr[:mbrTable+mbrEntry]) {
				t.Error("the bytes before the entry have changed")
			}
		})
	}
}

func FuzzGrowEntry(f *testing.F) {
	f.Add(table(partitionSpan{8192, 90112}, partitionSpan{98304, 24576}), int64(7_744_512))
	f.Add([]byte{}, int64(-1))
	f.Fuzz(func(t *testing.T, mbr []byte, sectors int64) {
		was, _ := parsePartition(mbr, dataPartNumber)
		out, s, changed, err := growEntry(mbr, dataPartNumber, sectors)
		if err == nil && (s.start != was.start || s.length < was.length || changed != (s.length > was.length) || int64(s.start)+int64(s.length) > max(sectors, int64(was.start)+int64(was.length))) {
			t.Errorf("%+v became %+v on %d sectors", was, s, sectors)
		}
		if err == nil && len(out) != sectorSize {
			t.Errorf("a table of %d bytes", len(out))
		}
	})
}

// newDisk creates a card of 256 MB whose data partition has 12 MB.
func newDisk(t *testing.T, p Paths) {
	t.Helper()
	if err := os.WriteFile(p.Disk, table(partitionSpan{8192, 90112}, partitionSpan{98304, 24576}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(p.Disk, 256<<20); err != nil {
		t.Fatal(err)
	}
}

func TestOpenData(t *testing.T) {
	tests := []struct {
		name    string
		answers map[string]fakeAnswer
		mount   error
		says    string
		ran     string // programs that ran, in order
		fails   string
	}{
		{"first boot", map[string]fakeAnswer{"resize2fs": {output: "resize2fs 1.47.0 (5-Feb-2023)\nThe filesystem on /dev/mmcblk0p2 is now 3072 (4k) blocks long.\n"}}, nil, "clean; grown to 12 MB", "e2fsck mount resize2fs", ""},
		{"a later one", map[string]fakeAnswer{"resize2fs": {output: "The filesystem is already 3072 (4k) blocks long.  Nothing to do!\n"}}, nil, "clean", "e2fsck mount resize2fs", ""},
		{"repaired", map[string]fakeAnswer{"e2fsck -p": {code: 1}}, nil, "repaired", "e2fsck mount resize2fs", ""},
		{"repaired with force", map[string]fakeAnswer{"e2fsck -p": {code: 4}, "e2fsck -f -y": {code: 1}}, nil, "repaired", "e2fsck e2fsck mount resize2fs", ""},
		{"beyond repair", map[string]fakeAnswer{"e2fsck -p": {code: 8}, "e2fsck -f -y": {code: 8, output: "x\nbad magic"}}, nil,
			"recreated (e2fsck gave up with exit code 8: bad magic)", "e2fsck e2fsck mke2fs mount resize2fs", ""},
		{"repaired and yet not to be mounted", nil, errors.New("bad superblock"), "recreated (it could not be mounted)", "e2fsck mount mke2fs mount resize2fs", ""},
		{"a dead card", map[string]fakeAnswer{"e2fsck": {code: 8}, "mke2fs": {code: 1, output: "Input/output error"}}, nil, "",
			"e2fsck e2fsck mke2fs", "replace the card"},
		{"no e2fsck", map[string]fakeAnswer{"e2fsck": {code: -1, err: errors.New("not found")}}, nil, "not checked: not found", "e2fsck mount resize2fs", ""},
		{"e2fsck is broken", map[string]fakeAnswer{"e2fsck": {code: 128, output: "no library"}}, nil, "not checked: e2fsck ended with 128: no library", "e2fsck mount resize2fs", ""},
		{"it cannot be grown", map[string]fakeAnswer{"resize2fs": {code: 1, output: "no"}}, nil, "clean; it could not be grown: resize2fs ended with 1: no", "e2fsck mount resize2fs", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, m := fakePaths(t), newFakeSystem()
			m.answers, m.mountErr = tt.answers, tt.mount
			newDisk(t, p)
			d, err := openData(t.Context(), m, p)
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) || d.mounted {
					t.Errorf("%+v, %v", d, err)
				}
			} else if err != nil || !d.mounted || d.summary != tt.says {
				t.Errorf("the summary is %q, %v; want %q", d.summary, err, tt.says)
			}
			var ran []string
			for _, line := range m.commandsWith("") {
				if name, _, _ := strings.Cut(line, " "); name != "grow" {
					ran = append(ran, name)
				}
			}
			if got := strings.Join(ran, " "); got != tt.ran {
				t.Errorf("it ran %s, want %s", got, tt.ran)
			}
			if len(m.commandsWith("grow 2")) != 1 {
				t.Error("the kernel does not know of the larger partition")
			}
			_, err = os.Stat(p.SavedFile(recreatedStateFile))
			if remade := strings.HasPrefix(tt.says, "recreated"); remade != (err == nil) {
				t.Errorf("the note that it was recreated: %v", err)
			}
		})
	}
}

// A partition in use is never checked or recreated; mke2fs -F would not refuse.
func TestDataInUseIsLeftAlone(t *testing.T) {
	p, m := fakePaths(t), newFakeSystem()
	newDisk(t, p)
	writeFiles(t, p.Proc, map[string]string{"self/mountinfo": "28 22 179:2 / " + p.Data + " rw,noatime - ext4 /dev/mmcblk0p2 rw\n"})
	d, err := openData(t.Context(), m, p)
	if err != nil || !d.mounted || len(m.commandsWith("")) != 0 {
		t.Errorf("%+v, %v, %v", d, err, m.commandsWith(""))
	}
}
