package ledger

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/hashicorp/raft"
)

// ledgerID is a ledger's identity: 64 random bits, 0 for none.
type ledgerID uint64

func (id ledgerID) String() string {
	if id == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", uint64(id))
}

// raftServer is one server of the ledger: a board in one of its lives.
type raftServer struct {
	ID   string // "name.8hex": a wiped card makes a new one
	Name string // the board's
}

// bootstrapConfig is what the rack agrees on once: the ledger and its first voters.
type bootstrapConfig struct {
	Ledger ledgerID
	Voters []raftServer // sorted by name
}

func (c bootstrapConfig) raftConfiguration() raft.Configuration {
	var conf raft.Configuration
	for _, s := range c.Voters {
		conf.Servers = append(conf.Servers, raft.Server{
			Suffrage: raft.Voter, ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.Name)})
	}
	return conf
}

// boardIdentity is who this board is, kept on disk.
type boardIdentity struct {
	Server string
	Ledger ledgerID
	// FirstVoters are the ledger's first voters, if this board was told them. One of
	// them that has no log yet begins with them as raft's configuration.
	FirstVoters []raftServer
	// JoinOnly: an earlier life of this board may have made promises that are
	// lost with its damaged files, so it founds nothing and only joins.
	JoinOnly bool
}

func randomUint64() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// newServerID makes a server id for a board's new life.
func newServerID(name string) string {
	var b [4]byte
	rand.Read(b[:])
	return name + "." + hex.EncodeToString(b[:])
}

func readIdentity(k *stableStore) (boardIdentity, bool, error) {
	var id boardIdentity
	b := k.get(keyBoard)
	if b == nil {
		return id, false, nil
	}
	if err := json.Unmarshal(b, &id); err != nil {
		return id, false, fmt.Errorf("who this board is: %w", err)
	}
	return id, true, nil
}

func (id boardIdentity) saveTo(k *stableStore) error {
	b, err := json.Marshal(id)
	if err != nil {
		return err
	}
	return k.put(map[string][]byte{keyBoard: b})
}
