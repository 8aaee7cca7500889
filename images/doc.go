// Package images builds the card image that a board boots from: Debian's kernels
// and firmware for Raspberry Pis, busybox, and Bramble. It needs neither root nor
// loop devices, pins every part by its hash, and builds the same bytes from the same
// parts (a reproducible build). It imports nothing else of Bramble.
//
// Start reading at Build. README.md is the guide for the person who makes the image,
// DESIGN.md has the reasons.
package images
