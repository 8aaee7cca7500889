package ledger

import "github.com/hashicorp/raft-wal/types"

// walMeta is raft-wal's meta store inside the stableStore. Raft-wal's own is a bbolt
// file, whose data pages have no checksum.
type walMeta struct{ stable *stableStore }

const (
	keySegments = "segments" // the log's segments
	keyRaft     = "raft."    // before raft's own keys: term and vote
	keyBoard    = "board"    // boardIdentity
	keyAcceptor = "acceptor" // paxosAcceptor
	keyStarts   = "starts"   // the newest start of each other server, by server id
)

func (w walMeta) Load(string) (s types.PersistentState, err error) {
	err = w.stable.getJSON(keySegments, &s)
	return s, err
}

func (w walMeta) CommitState(s types.PersistentState) error { return w.stable.putJSON(keySegments, s) }

func (w walMeta) GetStable(key []byte) ([]byte, error) {
	return w.stable.get(keyRaft + string(key)), nil
}

func (w walMeta) SetStable(key, value []byte) error {
	return w.stable.put(keyRaft+string(key), value)
}

// Close leaves the stableStore open: it outlives the log.
func (w walMeta) Close() error { return nil }
