package ledger

// Status is what a board knows of the ledger, for the console and the log.
type Status struct {
	Server        string // this board's name among the rafts: "name.8hex", new with every new folder
	Ledger        string // the ledger's identity, 16 hex digits; "" while it is not founded
	Founded       bool
	MissingBoards int      // not founded: for how many more boards
	Leader        string   // the leading board's name; "" if none is known
	Leading       bool     // this board leads
	Voters        []string // names, sorted
	Nonvoters     []string // names of the boards that follow without a vote, sorted
	Term          uint64
	Applied       uint64 // index of the last batch that was carried out here
	Commit        uint64 // index up to which this board knows that entries are committed
	LogBytes      int64  // of the log since the last snapshot
	Snapshot      uint64 // index of the last snapshot that this board took, or found at its start; 0 if none
	Halted        string // why the machine stands still, "" if it does not
	HaltPassing   bool   // what halts it may pass, such as a full disk: then it goes on by itself
	Foreign       string // boards of another ledger that were met, "" if none
	Damaged       string // what was found damaged at start and set aside, "" if nothing
	Trouble       string // what else keeps it from working just now, "" if nothing
}
