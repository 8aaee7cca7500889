package ledger

import (
	"encoding/json"
	"fmt"

	"github.com/hashicorp/raft-wal/types"
)

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

func (w walMeta) Load(string) (types.PersistentState, error) {
	var s types.PersistentState
	b := w.stable.get(keySegments)
	if b == nil {
		return s, nil
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("the list of log segments: %w", err)
	}
	return s, nil
}

func (w walMeta) CommitState(s types.PersistentState) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return w.stable.put(map[string][]byte{keySegments: b})
}

func (w walMeta) GetStable(key []byte) ([]byte, error) {
	return w.stable.get(keyRaft + string(key)), nil
}

func (w walMeta) SetStable(key, value []byte) error {
	return w.stable.put(map[string][]byte{keyRaft + string(key): value})
}

// Close leaves the stableStore open: it outlives the log.
func (w walMeta) Close() error { return nil }
