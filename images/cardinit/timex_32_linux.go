//go:build linux && (arm || 386)

package cardinit

import "golang.org/x/sys/unix"

func setTimex(tx *unix.Timex, microseconds int64) { tx.Offset = int32(microseconds) }
