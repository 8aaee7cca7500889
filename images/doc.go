// Package images makes the card that a board boots from: Debian's kernels and
// firmware for Raspberry Pis, busybox, and Bramble. It needs no root
// and no loop devices, takes every part by its hash, and makes the same bytes
// of the same parts. It stands alone: what the card's program does is not
// known here.
//
// Start reading at Build; the reasons are in DESIGN.md.
package images
