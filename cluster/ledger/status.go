package ledger

// NoLeader begins Status.Trouble if this board could work and no board leads.
const NoLeader = "no leader"

// LeaderSilent begins Status.Trouble if the leader does not answer this board's surveys.
const LeaderSilent = "the leader"

// Status is the ledger's state as far as a board knows, for the console and the log.
type Status struct {
	Server        string   `json:"server"` // this board's raft server id: "name.8hex", new with every new directory
	Ledger        string   `json:"ledger"` // the ledger's identity, 16 hex digits; "" while it is not founded
	Founded       bool     `json:"founded"`
	MissingBoards int      `json:"missing_boards"` // while it is not founded: the number of boards that it still waits for; 0 if it waits for something else, see Trouble
	Leader        string   `json:"leader"`         // the leading board's name; "" if none is known
	Leading       bool     `json:"leading"`        // this board leads
	Voters        []string `json:"voters"`         // names, sorted
	Nonvoters     []string `json:"nonvoters"`      // names of the boards that follow without a vote, sorted
	Term          uint64   `json:"term"`
	Applied       uint64   `json:"applied_index"`    // index of the last entry that this board applied
	LastEntry     uint64   `json:"last_entry_index"` // index of the last entry in this board's log or snapshot, committed or not
	Commit        uint64   `json:"commit_index"`     // index up to which this board knows that entries are committed
	LogBytes      int64    `json:"log_bytes"`        // of the log since the last snapshot
	Snapshot      uint64   `json:"snapshot_index"`   // index of the last snapshot that this board took, or found at its start; 0 if none
	Compacted     uint64   `json:"compacted_index"`  // index up to which no file of this board has entries any more: see CompactThrough
	Halted        string   `json:"halted"`           // why this board applies nothing, "" if it does not halt
	HaltTransient bool     `json:"halt_transient"`   // the reason can pass, such as a full disk: the board then goes on automatically
	Foreign       string   `json:"foreign_boards"`   // boards of another ledger, with its identity, that keep this one from accepting commands; "" if none
	Outdated      string   `json:"outdated_boards"`  // boards of a ledger that an operator gave up for this one, "" if none
	Superseded    string   `json:"superseded_by"`    // the ledger for which an operator gave this one up, "" if none
	// Ahead are boards with entries that another ledger lacks: those of other ledgers, or this board if its ledger was given up.
	Ahead         []AheadBoard `json:"ahead_boards,omitempty"`
	Fullest       string       `json:"fullest_board"`  // the board to recover the ledger on, if it has no leader and the missing cards are lost; else ""
	NameConflicts []string     `json:"name_conflicts"` // the names that two boards claim, a sentence each
	Kept          string       `json:"kept_entries"`   // acknowledged entries that a board has and the leader lacks, which keep the rack from accepting commands; "" if none
	Damaged       string       `json:"damaged"`        // the damage found at the start, whose files were set aside; "" if none
	Rules         uint32       `json:"rules"`          // version of the rules in force on this board, from 1
	MaxRules      uint32       `json:"max_rules"`      // the highest version that this board's program knows
	RulesHeldBy   []string     `json:"rules_held_by"`  // boards that keep the version from rising, as far as known, sorted
	// OlderPrograms are the boards, sorted, whose program is from before rules versions, and does
	// not speak with this one.
	OlderPrograms []string    `json:"older_programs"`
	Clock         ClockStatus `json:"clock"`
	// RulesHeldSeconds is the time since that began, in seconds, as far as this board knows.
	RulesHeldSeconds int64  `json:"rules_held_seconds"`
	Trouble          string `json:"trouble"` // what else keeps the ledger from working now, "" if nothing

	// LogCommands is the number of commands in the log since the last snapshot: what the next
	// start applies again.
	LogCommands int64 `json:"log_commands"`
	// Lag is the number of entries that this board still has to apply, as far as it knows: up
	// to the leader's last one, or before the first contact up to its own log's.
	Lag uint64 `json:"lag_entries"`
	// CatchingUp: a leader is there, or this board still reads its snapshot, and it has not
	// applied everything that was acknowledged before its start; or it lags by more than
	// maxReadyLag.
	CatchingUp bool `json:"catching_up"`
}
