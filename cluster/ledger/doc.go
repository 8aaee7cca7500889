// Package ledger is the rack's replicated log: the same commands in the same order on every board, by
// hashicorp/raft set up for boards and SD cards. A command is acknowledged only when a majority of the
// voters has it synced to disk and it has been carried out; it is carried out once, whichever board it
// was given to and whichever leader died on the way.
//
// The package knows nothing of what the commands mean: they go to a [Machine]. It knows other boards by
// name, through a [Link]. A rack founds its ledger without a hand and at most once (founding.go), keeps
// the number of voters right (upkeep.go), sets damaged files aside and fills itself from the others
// (damage.go), and has a clock that is the same on every board (clock.go). DESIGN.md gives the reasons.
package ledger
