package node

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
)

// maxSocketPath is the longest path of a unix socket, in bytes, that all systems take (sun_path
// has 104 on BSD, with a final zero).
const maxSocketPath = 103

const socketMode = 0o600

// ConsoleSocket returns the path of a console's unix socket; folder is the board's [orders]
// directory.
func ConsoleSocket(folder string) string { return filepath.Join(folder, "console.sock") }

// openConsoleSocket listens at the console's unix socket, which only the board's own user can
// open. It replaces one that a killed process left.
func (b *board) openConsoleSocket() (net.Listener, error) {
	path := ConsoleSocket(b.cfg.Orders.Directory)
	if runtime.GOOS == "windows" || len(path) > maxSocketPath {
		return nil, fmt.Errorf("%s cannot be a socket here", path)
	}
	if old, err := net.Dial("unix", path); err == nil {
		old.Close()
		return nil, fmt.Errorf("another process listens at %s", path)
	}
	// Nobody else can enter the folder, so the socket needs no mode before it is there.
	if err := os.MkdirAll(b.cfg.Orders.Directory, folderMode); err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
		os.Remove(path) // if it stays, Listen fails
	}
	l, err := net.Listen("unix", path)
	if err == nil {
		if err = os.Chmod(path, socketMode); err != nil {
			err = errors.Join(err, l.Close())
		}
	}
	return l, err
}
