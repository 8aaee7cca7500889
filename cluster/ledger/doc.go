// Package ledger is the rack's replicated log: the same commands in the same order on every board, with
// hashicorp/raft tuned for boards and SD cards. A command is acknowledged only when a majority of the
// voters (a quorum) has synced it to disk and it is applied. It is applied once, whichever board it was submitted to
// and whichever leader died on the way.
//
// The package does not interpret the commands: it passes them to a [StateMachine]. It knows other
// boards by name, through a [Transport]. A rack founds its ledger automatically and at most once
// (founding.go), keeps the right number of voters (autopilot.go), sets damaged files aside and recovers
// them from the other boards (boardfiles.go), and has a clock that is the same on every board (clock.go).
// DESIGN.md has the reasons.
package ledger
