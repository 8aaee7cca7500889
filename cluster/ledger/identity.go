package ledger

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/hashicorp/raft"
)

// ledgerID is a ledger's identity: 64 random bits, 0 for none.
type ledgerID uint64

func (l ledgerID) String() string {
	if l == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", uint64(l))
}

// raftServer is one raft server: a board in one of its lives. A board begins a new
// life when its card was wiped or its files were set aside.
type raftServer struct {
	ID   string // "name.8hex", new in each life
	Name string // the board's
}

// bootstrapConfig is raft's bootstrap configuration, on which the rack agrees once:
// the ledger and its first voters.
type bootstrapConfig struct {
	Ledger ledgerID
	Voters []raftServer // sorted by name
}

func (b bootstrapConfig) raftConfiguration() raft.Configuration {
	var configuration raft.Configuration
	for _, s := range b.Voters {
		configuration.Servers = append(configuration.Servers, raft.Server{
			Suffrage: raft.Voter, ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.ID)})
	}
	return configuration
}

// boardIdentity is this board's identity, which is on disk.
type boardIdentity struct {
	Server string
	Ledger ledgerID
	// FirstVoters are the ledger's first voters, if this board knows them. If it is
	// one of them and has no log yet, raft starts with them as its configuration.
	FirstVoters []raftServer
	Starts      startHistory
	// NewLife is why the next start sets the files aside and begins a new life, "" if it
	// does not.
	NewLife string `json:",omitempty"`
	// JoinOnly: an earlier life of this board may have made promises that are lost
	// with its damaged files, so it does not take part in founding and only joins.
	JoinOnly bool
	Lost     string `json:",omitempty"` // why JoinOnly is set
	// MayFound is an operator's word: a majority of the planned boards may found a ledger,
	// though others are missing or lost their files.
	MayFound bool `json:",omitempty"`
	// JoinLedger is the only ledger that this board joins, 0 for any.
	JoinLedger ledgerID `json:",omitempty"`
	// Superseded are the ledgers that an operator gave up for this board's ledger: the one
	// that it was before a recovery, and those over which it was chosen.
	Superseded []ledgerID   `json:",omitempty"`
	Forks      []ledgerFork `json:",omitempty"` // of its ledger, one per recovery: the last maxSuperseded
	// Recover: the next start makes this board the only voter of a recovered ledger.
	Recover bool `json:",omitempty"`
}

func randomUint64() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// newServerID returns a server id for a board's new life.
func newServerID(name string) string {
	var b [4]byte
	rand.Read(b[:])
	return name + "." + hex.EncodeToString(b[:])
}

// changeIdentity changes the identity on disk and in memory, or neither.
func (b *boardFiles) changeIdentity(change func(*boardIdentity)) error {
	changed := b.identity
	change(&changed)
	if err := b.stable.putJSON(keyBoard, changed); err != nil {
		return err
	}
	b.identity = changed
	return nil
}
