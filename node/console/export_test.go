package console

// The bounds of requests, for the tests outside the package.
const (
	MaxBody      = maxBody
	MaxURL       = maxURL
	MaxTag       = maxTag
	MaxBoardName = maxBoardName
)

// HasSample reports whether Run has taken its first sample.
func (c *Console) HasSample() bool {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	return c.hub.sampled
}
