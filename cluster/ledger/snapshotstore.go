package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"bramble/cluster/durable"
)

// keepingSnapshots are the board's snapshots as raft sees them. They refuse a leader's
// snapshot that would replace entries that are known to be committed.
type keepingSnapshots struct {
	*raft.FileSnapshotStore
	log     *logStore
	checked *atomic.Pointer[openSnapshot] // see boardFiles
	dir     string                        // where the snapshots are
	// conflicts is called after a leader's snapshot that the log contradicts. Raft 1.8 empties
	// the log then, but goes on to know its last entry: it refuses all that the leader
	// sends, until raft starts again.
	conflicts func()
}

// raftSnapshots returns the board's snapshots for raft.
func (b *boardFiles) raftSnapshots(conflicts func()) keepingSnapshots {
	return keepingSnapshots{b.snapshots, b.log, &b.checked, b.snapshotDir, conflicts}
}

// Open implements raft.SnapshotStore. At the start, the snapshot was read and checked a moment ago.
func (k keepingSnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	if s := k.checked.Load(); s != nil && s.ID == id && k.checked.CompareAndSwap(s, nil) {
		return s.SnapshotMeta, s, nil
	}
	return k.FileSnapshotStore.Open(id)
}

// Create implements raft.SnapshotStore.
func (k keepingSnapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	if index < k.log.proven.Load() {
		var entry raft.Log
		newest, err := newestSnapshot(k.FileSnapshotStore)
		if err != nil {
			return nil, err
		}
		isOwn := newest.Index == index && newest.Term == term
		if err := k.log.GetLog(index, &entry); !isOwn && (err != nil || entry.Term != term) {
			return nil, k.log.keepEntries(index + 1)
		}
	}
	sink, err := k.FileSnapshotStore.Create(version, index, term, configuration, configurationIndex, trans)
	if err != nil {
		return nil, err
	}
	d := describedSink{SnapshotSink: sink, dir: filepath.Join(k.dir, sink.ID())}
	if k.log.contradicts(index, term) {
		d.conflicts = k.conflicts
	}
	return d, nil
}

// contradicts reports whether the log has another entry at the index of a snapshot.
func (s *logStore) contradicts(index, term uint64) bool {
	var entry raft.Log
	return s.GetLog(index, &entry) == nil && entry.Term != term
}

// dropContradiction empties a log that contradicts the newest snapshot: the board stopped while
// it installed that. What is committed is in the snapshot.
func (s *logStore) dropContradiction(newest raft.SnapshotMeta) error {
	if newest.Index == 0 || !s.contradicts(newest.Index, newest.Term) {
		return nil
	}
	first, last, err := s.entryRange()
	if err != nil {
		return err
	}
	return s.DeleteRange(first, last)
}

// A snapshot's description has the rack's configuration. Raft's store has a checksum of
// the snapshot alone, so this board adds one of the description, as hexadecimal CRC-32C: a
// flipped bit in it would change who votes.
const (
	descriptionFile    = "meta.json" // as raft's store names it
	descriptionSumFile = "meta.crc32c"
)

// describedSink is a snapshot that gets the checksum of its description when it is complete.
type describedSink struct {
	raft.SnapshotSink
	dir       string
	conflicts func() // see keepingSnapshots; nil if there is none
}

func (d describedSink) Close() error {
	if err := d.SnapshotSink.Close(); err != nil {
		return err
	}
	sum, err := sumDescription(d.dir)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(d.dir, descriptionSumFile), sum, 0o600); err != nil {
		return err
	}
	if d.conflicts != nil {
		d.conflicts()
	}
	return nil
}

func sumDescription(dir string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(dir, descriptionFile))
	return fmt.Appendf(nil, "%08x\n", crc32cSum(b)), err
}

// checkDescription checks a snapshot's description. One without a checksum is of the program
// before it, or a power cut came before it was written.
func checkDescription(dir string) error {
	want, err := os.ReadFile(filepath.Join(dir, descriptionSumFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	sum, sumErr := sumDescription(dir)
	if err = errors.Join(err, sumErr); err == nil && !bytes.Equal(sum, want) {
		err = &damageError{filepath.Join("snapshots", filepath.Base(dir), descriptionFile), "it fails its checksum"}
	}
	return err
}
