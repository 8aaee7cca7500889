//go:build !linux

package cardinit

// NewSystem returns ErrNoSystem.
func NewSystem() (System, error) { return nil, ErrNoSystem }
