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

// Subscribers counts the subscriptions that have not ended.
func (b *Broadcaster) Subscribers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subscribers)
}
