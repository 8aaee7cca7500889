// Package aboard is what runs on a card before and around Bramble: it makes a
// first Raspberry Pi with a freshly written card a board of the rack, keeps the
// board running, and swaps its program for a newer one.
//
// Run goes through a fixed order, and says each fact on the serial console:
// boot partition, serial number, settings, network, data partition, clock, host
// name, and then the board itself, which is a child process that it looks
// after. What only the kernel can do is behind Machine; the rules are plain
// functions. DESIGN.md has the reasons. The package imports nothing of Bramble:
// what it needs of it is handed to it in Config.
package cardinit
