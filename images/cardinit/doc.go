// Package cardinit is the init and supervisor of a card: it turns a first
// Raspberry Pi with a freshly written card into a board of the rack, keeps the
// board's program running, feeds the watchdog, and swaps the program for a newer
// one by A/B update slots. Busybox's init starts it as "bramble card-init".
//
// Run goes through a fixed order and logs each fact on the serial console: kernel
// parameters, boot partition, settings, network, data partition, clock, host name,
// and then the board's program, which it supervises. Everything that only the
// kernel can do is behind System; the rules are plain functions. DESIGN.md has the
// reasons and the order in which to read the files. The package imports nothing
// else of Bramble: Config holds everything else.
package cardinit
