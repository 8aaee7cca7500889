package ledger

// Status is the ledger's state as far as a board knows, for the console and the log.
type Status struct {
	Server        string // this board's raft server id: "name.8hex", new with every new directory
	Ledger        string // the ledger's identity, 16 hex digits; "" while it is not founded
	Founded       bool
	MissingBoards int      // while it is not founded: the number of boards that it still waits for
	Leader        string   // the leading board's name; "" if none is known
	Leading       bool     // this board leads
	Voters        []string // names, sorted
	Nonvoters     []string // names of the boards that follow without a vote, sorted
	Term          uint64
	Applied       uint64 // index of the last entry that this board applied
	Commit        uint64 // index up to which this board knows that entries are committed
	LogBytes      int64  // of the log since the last snapshot
	Snapshot      uint64 // index of the last snapshot that this board took, or found at its start; 0 if none
	Halted        string // why this board applies nothing, "" if it does not halt
	HaltTransient bool   // the reason can pass, such as a full disk: the board then goes on automatically
	Foreign       string // boards of another ledger that this board has seen, "" if none
	Damaged       string // the damage found at the start, whose files were set aside; "" if none
	Trouble       string // what else keeps the ledger from working now, "" if nothing
}
