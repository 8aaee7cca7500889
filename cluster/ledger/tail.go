package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// A power cut can tear the last batch of the log. Raft-wal treats everything from the
// first unreadable frame on as such a torn batch, and drops it silently. But if a bit
// flipped in the middle, it drops entries that were acknowledged. So this file checks
// the tail first.
//
// A segment file is a header of 32 bytes, then frames of 8 bytes and a payload padded
// to 8. A frame is a type byte (1 entry, 2 index, 3 commit), three zeros, and a length,
// or for a commit the CRC-32C of everything since the last commit.

const (
	walFileHeader  = 32
	walFrameHeader = 8
	frameEntry     = 1
	frameIndex     = 2
	frameCommit    = 3
)

// tailState is the result of scanTail.
type tailState struct {
	Good    int  // length of the good part, in bytes
	End     int  // length of the part that is written at all, in bytes
	Damaged bool // the rest after Good was complete once
}

// scanTail checks the bytes of an unsealed segment file.
func scanTail(b []byte) tailState {
	end := len(b)
	for end > 0 && b[end-1] == 0 {
		end--
	}
	s := tailState{End: end}
	at, from := walFileHeader, 0
	for at+walFrameHeader <= len(b) {
		kind, n := b[at], int(binary.LittleEndian.Uint32(b[at+4:]))
		if b[at+1] != 0 || b[at+2] != 0 || b[at+3] != 0 {
			break
		}
		if kind == frameCommit {
			if crc32cSum(b[from:at]) != uint32(n) {
				break
			}
			at += walFrameHeader
			from, s.Good = at, at
			continue
		}
		if (kind != frameEntry && kind != frameIndex) || n < 0 || n > len(b)-at-walFrameHeader {
			break
		}
		at += walFrameHeader + (n+7)&^7
	}
	if s.Good >= end {
		return s
	}
	// Something follows. Batches are written one at a time, each after the one before
	// was synced: if a good commit lies further on, this was no torn write.
	rest := b[s.Good:min(len(b), (end+7)&^7)]
	s.Damaged = hasLaterCommit(rest) || wasComplete(rest)
	return s
}

// wasComplete reports whether b, everything that is written after a good commit, is
// one batch that was written to its end and has changed since. It does not trust the
// lengths in the frames, because one of them may have changed. Either the last eight
// bytes are a commit frame and no sector is missing, or they hold the checksum of
// everything before them, so that only the frame's header can be wrong.
func wasComplete(b []byte) bool {
	at := len(b) - walFrameHeader
	if at <= 0 {
		return false
	}
	last := b[at:]
	if last[0] == frameCommit && last[1] == 0 && last[2] == 0 && last[3] == 0 {
		return !looksTorn(b)
	}
	return crc32cSum(b[:at]) == binary.LittleEndian.Uint32(last[4:])
}

// hasLaterCommit reports whether b has two successive commit frames, and the checksum of
// the second fits the bytes between them.
func hasLaterCommit(b []byte) bool {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum, seen := uint32(0), false
	for i := 0; i+walFrameHeader <= len(b); i += walFrameHeader {
		f := b[i : i+walFrameHeader]
		if f[0] == frameCommit && f[1] == 0 && f[2] == 0 && f[3] == 0 {
			if seen && binary.LittleEndian.Uint32(f[4:]) == sum {
				return true
			}
			sum, seen = 0, true
			continue
		}
		sum = crc32.Update(sum, table, f)
	}
	return false
}

// segmentFiler is raft-wal's segment.Filer with three fixes: it removes a file for which
// the disk had no room, it distinguishes a damaged tail from a torn one, and it can read
// a segment after a restart that was sealed by cutting entries off its end.
type segmentFiler struct {
	*segment.Filer
	dir string
	// lenient cuts a damaged tail off like a torn one, to read the rest.
	lenient bool
}

// Create removes the file again if the disk has no room for it: a file that is not
// allocated in full would pass for a complete one later.
func (s segmentFiler) Create(info types.SegmentInfo) (types.SegmentWriter, error) {
	w, err := s.Filer.Create(info)
	if err != nil {
		if removeErr := os.Remove(filepath.Join(s.dir, segment.FileName(info))); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}
	return w, err
}

// RecoverTail cuts off a torn batch and overwrites it with zeros, so that no later start
// misreads its remains. It returns a *damageError for a damaged tail.
func (s segmentFiler) RecoverTail(info types.SegmentInfo) (types.SegmentWriter, error) {
	if err := repairTail(filepath.Join(s.dir, segment.FileName(info)), s.lenient); err != nil {
		return nil, err
	}
	return s.Filer.RecoverTail(info)
}

// Open reads a sealed segment. Raft-wal 0.4.0 seals a segment without writing its index
// when a follower drops entries off its end; the index is then rebuilt by reading the
// whole segment, as for a tail.
func (s segmentFiler) Open(info types.SegmentInfo) (types.SegmentReader, error) {
	if info.IndexStart == 0 {
		return s.Filer.RecoverTail(info)
	}
	return s.Filer.Open(info)
}

func repairTail(path string, lenient bool) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil {
		return fmt.Errorf("read the log's tail: %w", err)
	}
	s := scanTail(b)
	if s.Damaged && !lenient {
		return &damageError{filepath.Base(path), fmt.Sprintf("the rest after byte %d fails its checksum", s.Good)}
	}
	if s.Good >= s.End {
		return nil
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("repair the log's tail: %w", err)
	}
	_, err = file.WriteAt(make([]byte, s.End-s.Good), int64(s.Good))
	if err == nil {
		err = file.Sync()
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("repair the log's tail: %w", err)
	}
	return nil
}
