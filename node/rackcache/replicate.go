package rackcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"bramble/cache"
	"bramble/cluster/link"
)

const (
	// copyQueue bounds the copies that wait to be sent to second owners. One that does
	// not fit is dropped: a copy is a convenience, and the next crowd makes another.
	copyQueue = 256
	// copyWorkers send at once: one waits for the network while another works.
	copyWorkers = 2
	// copyTimeout bounds the sending of one object.
	copyTimeout = 10 * time.Second
	// ringStableTime is the time for which the ring must not change before copies move to their
	// new second owners: boards come and go in bursts.
	ringStableTime = 2 * time.Second
	// moveInterval is the pause between two copies that move, so that a rack that
	// heals keeps its links for its clients: 200 objects a second.
	moveInterval = 5 * time.Millisecond
)

// replicator sends the second owner of each key what the first one stores, so that
// pulling one plug causes no storm on the origin. It sends again when the ring has
// given keys other owners.
type replicator struct {
	handler *PageHandler
	log     *slog.Logger
	queue   chan string
	sent    atomic.Int64
	dropped atomic.Int64
}

func newReplicator(h *PageHandler, log *slog.Logger) *replicator {
	return &replicator{handler: h, log: log, queue: make(chan string, copyQueue)}
}

// Stats are the figures of the copies for second owners, since the start.
type Stats struct {
	CopiesSent    int64
	CopiesDropped int64 // the queue was full, or the second owner did not store it
}

// Stats returns the figures of this moment.
func (h *PageHandler) Stats() Stats {
	return Stats{CopiesSent: h.replicator.sent.Load(), CopiesDropped: h.replicator.dropped.Load()}
}

// queueCopy is called by the cache for each object that this board stores as first
// owner.
func (c *replicator) queueCopy(o *cache.Object) {
	select {
	case c.queue <- o.Key():
	default:
		c.dropped.Add(1)
	}
}

// run sends copies until ctx ends.
func (c *replicator) run(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	for range copyWorkers {
		workers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case key := <-c.queue:
					c.sendCopies(ctx, key)
				}
			}
		})
	}
	c.watchRing(ctx)
}

// sendCopies sends everything stored under a key to the key's second owner.
func (c *replicator) sendCopies(ctx context.Context, key string) {
	h := c.handler
	first, second := h.Ring().Owners(key)
	if first != h.self || second == "" || !h.Link.Up(second) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	// The digest is taken before the copy: the copy contains nothing that this board
	// had purged by then, and a board that has applied the same purges may store it.
	digest := h.Purges.Digest()
	for _, object := range h.cache.Peek(key) {
		if err := c.putCopy(ctx, second, key, digest, h.cache.AppendWire(nil, object)); err != nil {
			if !errors.Is(err, link.ErrPeerSilent) && ctx.Err() == nil {
				c.log.Debug("copy refused", "board", second, "key", key, "error", err)
			}
			c.dropped.Add(1)
			return
		}
		c.sent.Add(1)
	}
}

func (c *replicator) putCopy(ctx context.Context, board, key string, digest uint64, wire []byte) error {
	query := url.Values{"key": {key}, "purges": {strconv.FormatUint(digest, 16)}}
	r, err := http.NewRequest(http.MethodPut, "https://board"+objectPath+"?"+query.Encode(), bytes.NewReader(wire))
	if err != nil {
		return fmt.Errorf("sending a copy: %w", err)
	}
	resp, err := c.handler.Link.Do(ctx, board, r)
	if err != nil {
		return fmt.Errorf("sending a copy: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("sending a copy: %s answered with status %d", board, resp.StatusCode)
	}
	return nil
}

// watchRing waits for the ring to change and be stable again, and then sends the
// copies that have a new second owner, until ctx ends.
func (c *replicator) watchRing(ctx context.Context) {
	ticker := time.NewTicker(ringStableTime)
	defer ticker.Stop()
	stable := c.handler.Ring()
	last := stable
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		ring := c.handler.Ring()
		if ring != last {
			last = ring
			continue
		}
		if ring != stable {
			c.queueMovedKeys(ctx, stable, ring)
			stable = ring
		}
	}
}

// queueMovedKeys queues the keys whose owners differ between two rings.
func (c *replicator) queueMovedKeys(ctx context.Context, old, now OwnerRing) {
	pause := time.NewTicker(moveInterval)
	defer pause.Stop()
	for key := range c.handler.cache.Keys {
		first, second := now.Owners(key)
		oldFirst, oldSecond := old.Owners(key)
		if first != c.handler.self || second == "" || first == oldFirst && second == oldSecond {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case c.queue <- key:
		}
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
	}
}
