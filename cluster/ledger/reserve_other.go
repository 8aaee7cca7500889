//go:build !linux

package ledger

import "os"

// reserveSpace does nothing: boards run Linux.
func reserveSpace(*os.File, int64) {}
