package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func FuzzEntry(f *testing.F) {
	f.Add([]byte{})
	f.Add((&entry{Term: 3, Stamp: time.Unix(5, 6).UTC(), ID: batchID{1, 2}, Commands: [][]byte{[]byte("a"), {}}}).encode())
	f.Add((&entry{}).encode())
	f.Add(append((&entry{}).encode(), 0))
	f.Add((&entry{Term: 3, Rules: 2, Flags: flagClockSet, Commands: [][]byte{[]byte("a")}}).encode())
	f.Add(append([]byte{entryVersion2}, make([]byte, 64)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEntry(b)
		if err != nil {
			return
		}
		if again := e.encode(); !bytes.Equal(again, b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}

func FuzzBatch(f *testing.F) {
	f.Add(batchRequest{Term: 1, ID: batchID{2, 3}, Commands: [][]byte{[]byte("a")}}.encode())
	f.Add(batchResponse{Status: batchDone, Index: 4, Replies: [][]byte{[]byte("r")}}.encode())
	f.Add(batchResponse{Status: batchRefused, Text: "no"}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := decodeBatchRequest(b); err == nil && !bytes.Equal(q.encode(), b) {
			t.Errorf("question %x became %x", b, q.encode())
		}
		if s, err := decodeBatchResponse(b); err == nil && !bytes.Equal(s.encode(), b) {
			t.Errorf("answer %x became %x", b, s.encode())
		}
	})
}

// walFile returns a segment file with these batches, each with one entry.
func walFile(batches ...string) []byte {
	b := make([]byte, walFileHeader)
	b[0] = 0x0d
	from := 0
	for _, text := range batches {
		frame := make([]byte, walFrameHeader+(len(text)+7)&^7)
		frame[0] = frameEntry
		binary.LittleEndian.PutUint32(frame[4:], uint32(len(text)))
		copy(frame[walFrameHeader:], text)
		b = append(b, frame...)
		sum := crc32cSum(b[from:])
		b = append(b, frameCommit, 0, 0, 0)
		b = binary.LittleEndian.AppendUint32(b, sum)
		from = len(b)
	}
	return append(b, make([]byte, 4096)...)
}

func TestScanTail(t *testing.T) {
	long := string(bytes.Repeat([]byte("z"), 2000))
	whole := walFile("one", "two", "three")
	third := len(walFile("one", "two")) - 4096
	torn := walFile("one", "two", long)
	with := func(b []byte, change func(b []byte)) []byte {
		b = bytes.Clone(b)
		change(b)
		return b
	}
	for _, c := range []struct {
		name string
		b    []byte
		good int
		flip bool
	}{
		{"empty", make([]byte, 4096), 0, false},
		{"whole", whole, len(whole) - 4096, false},
		{"a bit in the first batch", with(whole, func(b []byte) { b[walFileHeader+walFrameHeader] ^= 1 }), 0, true},
		{"a bit in the first length", with(whole, func(b []byte) { b[walFileHeader+4] ^= 64 }), 0, true},
		{"a bit in the last batch", with(whole, func(b []byte) { b[third+walFrameHeader] ^= 1 }), third, true},
		{"the last batch torn at its end", with(torn, func(b []byte) { clear(b[third+1000:]) }), third, false},
		{"the last batch torn in its middle", with(torn, func(b []byte) { clear(b[third+512 : third+1100]) }), third, false},
	} {
		if s := scanTail(c.b); s.Good != c.good || s.Damaged != c.flip {
			t.Errorf("%s: %+v, want %d %v", c.name, s, c.good, c.flip)
		}
	}
}

// A flip of any bit of the last batch, its frame headers and checksum included, is
// found; and a bit in the zeros after it harms nothing.
func TestScanTailFindsEveryFlippedBit(t *testing.T) {
	whole := walFile("one", "two", "the third, a little longer")
	third, end := len(walFile("one", "two"))-4096, len(whole)-4096
	for bit := range 8 * (end + 64) {
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		s := scanTail(b)
		if inside := bit/8 < end; s.Damaged != inside {
			t.Errorf("bit %d of byte %d (the last batch is %d to %d): %+v", bit%8, bit/8, third, end, s)
		}
	}
}

// A write that was stopped after any sector, or after any eight bytes, is torn.
func TestScanTailTakesNoTornWriteForAFlip(t *testing.T) {
	whole := walFile("one", "two", string(bytes.Repeat([]byte("z\x00\x03\x01"), 400)))
	third, end := len(walFile("one", "two"))-4096, len(whole)-4096
	for at := third; at < end; at += 8 {
		b := bytes.Clone(whole)
		clear(b[at:])
		if s := scanTail(b); s.Damaged || s.Good != third {
			t.Errorf("torn at %d of %d to %d: %+v", at, third, end, s)
		}
	}
}

func FuzzScanTail(f *testing.F) {
	f.Add(walFile("one", "two"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s := scanTail(b); s.Good < 0 || s.Good > len(b) || s.End > len(b) {
			t.Errorf("%+v of %d", s, len(b))
		}
	})
}

func TestStableStoreSurvivesATornWriteAndFindsAFlippedBit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	k, err := openStableStore(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"one", "two", "three"} {
		if err := k.put("key", []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	k.close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n <= len(whole); n++ {
		values, _, err := readLastRecord("state", whole[:n])
		if err != nil && len(values) > 0 {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	if v, _, err := readLastRecord("state", whole[:len(whole)-3]); err != nil || string(v["key"]) != "two" {
		t.Errorf("torn: %s, %v", v["key"], err)
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 4
		if v, _, err := readLastRecord("state", b); err == nil && string(v["key"]) != "three" {
			t.Errorf("a flipped bit in byte %d of %d yields %q", i, len(whole), v["key"])
		}
	}
}

func FuzzStableStore(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00abcd{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, good, err := readLastRecord("state", b); err == nil && good > len(b) {
			t.Errorf("%d of %d", good, len(b))
		}
	})
}

func openTestLog(t *testing.T, dir string) (*stableStore, *logStore) {
	t.Helper()
	k, err := openStableStore(filepath.Join(dir, "state"), 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openLog(logOptions{dir: filepath.Join(dir, "log"), stable: k, logger: hclogAdapter{log: slog.New(slog.DiscardHandler)}})
	if err != nil {
		t.Fatal(err)
	}
	return k, s
}

func storeEntries(t *testing.T, s *logStore, term, from, to uint64) {
	t.Helper()
	for i := from; i <= to; i++ {
		if err := s.StoreLog(&raft.Log{Index: i, Term: term, Data: fmt.Append(nil, term, "/", i)}); err != nil {
			t.Fatal(err)
		}
	}
}

// raft-wal alone cannot read this log after the restart: see segmentFiler.Open.
func TestLogIsReadAfterEntriesAreCutOff(t *testing.T) {
	dir := t.TempDir()
	k, s := openTestLog(t, dir)
	storeEntries(t, s, 1, 1, 10)
	if err := s.DeleteRange(6, 10); err != nil {
		t.Fatal(err)
	}
	storeEntries(t, s, 2, 6, 8)
	for range 3 {
		s.close()
		k.close()
		k, s = openTestLog(t, dir)
		if err := s.verifyEntries(0); err != nil {
			t.Fatal(err)
		}
		for i := uint64(1); i <= 8; i++ {
			var l raft.Log
			term := uint64(1)
			if i >= 6 {
				term = 2
			}
			if err := s.GetLog(i, &l); err != nil || l.Term != term || string(l.Data) != fmt.Sprint(term, "/", i) || l.Extensions != nil {
				t.Errorf("%d: %+v, %v", i, l, err)
			}
		}
		if last, _ := s.LastIndex(); last != 8 {
			t.Errorf("last %d", last)
		}
	}
	s.close()
	k.close()
}

// A snapshot made the log begin at entry 7, and the card lost what was stored after entry 4. The log
// then has an end and a beginning, and nothing between.
func TestALogThatEndsBeforeItBegins(t *testing.T) {
	dir := t.TempDir()
	k, s := openTestLog(t, dir)
	storeEntries(t, s, 1, 1, 4)
	files, err := filepath.Glob(filepath.Join(dir, "log/*.wal"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	before, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	storeEntries(t, s, 1, 5, 10)
	if err := errors.Join(s.DeleteRange(1, 6), s.verifyEntries(6), s.close(), k.close(), os.WriteFile(files[0], before, 0o600)); err != nil {
		t.Fatal(err)
	}
	k, s = openTestLog(t, dir)
	var damage *damageError
	if err := s.verifyEntries(6); !errors.As(err, &damage) {
		t.Errorf("it is accepted: %v", err)
	} else {
		t.Log(err)
	}
	if err := errors.Join(s.close(), k.close()); err != nil {
		t.Fatal(err)
	}
}
