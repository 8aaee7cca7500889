//go:build !linux

package cardinit

// NewSystem says that there is none here.
func NewSystem() (System, error) { return nil, ErrNoSystem }
