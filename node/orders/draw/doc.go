// Package draw computes a ballot's draw, so that everybody can repeat it: a pure function from a
// list of references, a secret with a published commitment, and public randomness, to the
// winners. DESIGN.md in the folder above does the same with sha256sum and sort.
package draw
