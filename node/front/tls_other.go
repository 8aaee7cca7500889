//go:build !linux

package front

// There is no lane here: crypto/tls always has the socket.

func (c *recordBuffers) readSocket([]byte) (int, error) { return 0, errDrained{} }

func (c *conn) awaitFirstByte() bool { return true }

func hasTLSClientEnded(uintptr) bool { return true }
