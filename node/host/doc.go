// Package host reads the resources of the machine that a board runs on, and their use:
// memory, file descriptors, the process's own usage, the load, a Raspberry Pi's health.
// It derives the board's limits from them. Each rule is a pure function beside the
// code that reads the kernel's files; it imports nothing of Bramble.
package host
