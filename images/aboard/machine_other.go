//go:build !linux

package aboard

// NewMachine says that there is none here.
func NewMachine() (Machine, error) { return nil, ErrNoMachine }
