package draw

import "time"

// Kind is where a draw's public randomness comes from.
type Kind string

// The kinds of public randomness.
const (
	None  Kind = ""      // the commitment and the entries alone
	Dice  Kind = "dice"  // rolled in the room and typed in
	Drand Kind = "drand" // a round of the drand beacon "quicknet" after the close
)

// Public is the public randomness of a draw.
type Public struct {
	Kind Kind   `json:"kind"`
	Text string `json:"text"` // see Check for the format; part of the seed, byte for byte
}

// Promise is what an offer fixes of a ballot's public randomness, before the ballot opens: see Accepts.
type Promise struct {
	Kind  Kind   `json:"kind"`
	Dice  int    `json:"dice,omitempty"`  // of Dice: their number, LeastDice to MostDice
	Round uint64 `json:"round,omitempty"` // of Drand: RoundAfter the close
}

// Entry is one entry of a ballot.
type Entry struct {
	Reference string `json:"reference"` // such as "K7QM-2XD9-5VB"
	Quantity  int    `json:"quantity"`  // all of these units are won, or none
}

// File is the published record of a draw; as JSON it is the file that Verify and
// `bramble draw verify` read. Times are RFC 3339 in UTC, in whole milliseconds. It is public from
// the offer on, and has what is public so far: the entries from Listed on, secret and result after
// the draw. A draw that was begun by rules 1 or 2 has version 1, without List, Listed, Boards and Taken.
// There is no version 2.
type File struct {
	Version    int       `json:"version"` // 3
	Product    string    `json:"product"`
	Opens      time.Time `json:"opens"`
	Closes     time.Time `json:"closes"`
	Stock      int64     `json:"stock"`      // units in the draw
	Commitment string    `json:"commitment"` // hex, published before the ballot opened
	Promised   Promise   `json:"promised"`
	List       string    `json:"list,omitempty"`  // hex, see NewList; published before the randomness was known
	Listed     time.Time `json:"listed,omitzero"` // when the list was fixed, by the ledger's clock, which an operator can set
	Boards     time.Time `json:"boards,omitzero"` // the same moment by most boards' own clocks; zero if they agreed on no time
	Taken      time.Time `json:"taken,omitzero"`  // when the rack took Public, by the ledger's clock; not of None
	Secret     string    `json:"secret"`          // hex, not published before the close
	Public     Public    `json:"public"`
	Entries    []Entry   `json:"entries"` // in the order of their references
	Winners    []string  `json:"winners"` // in the order drawn
	Losers     []string  `json:"losers"`  // in the order of their tickets
}
