// Package draw is a ballot's draw as anybody can redo it: a pure function from a list of
// references, a secret that was committed to before, and public randomness, to winners.
// DESIGN.md in the folder above writes it down for sha256sum and sort.
package draw
