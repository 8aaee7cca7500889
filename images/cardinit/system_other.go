//go:build !linux

package cardinit

// NewMachine says that there is none here.
func NewMachine() (Machine, error) { return nil, ErrNoMachine }
