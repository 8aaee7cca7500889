package node

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
	"bramble/cluster"
	"bramble/cluster/link"
)

const (
	// copyQueue bounds the copies that wait to be sent to second owners. What
	// does not fit is not sent: a copy is a convenience, and the next crowd
	// makes another.
	copyQueue = 256
	// copyWorkers send at once: one waits for the network while another works.
	copyWorkers = 2
	// copyTimeout bounds the sending of one object.
	copyTimeout = 10 * time.Second
	// ringStableTime is how long a ring must stand still before copies are spread
	// anew: boards come and go in bursts.
	ringStableTime = 2 * time.Second
	// moveInterval is between two copies of a spread, so that a rack that heals
	// keeps its links for its clients: 200 objects a second.
	moveInterval = 5 * time.Millisecond
)

// replicator gives the second owner of each key what the first one stores, so
// that pulling one plug sends no storm to the origin, and does so anew when
// the ring has given keys other owners.
type replicator struct {
	pages   *rackHandler
	log     *slog.Logger
	queue   chan string
	sent    atomic.Int64
	dropped atomic.Int64
}

func newReplicator(log *slog.Logger) *replicator {
	return &replicator{log: log, queue: make(chan string, copyQueue)}
}

// queueCopy is called by the cache for each object that this board stores as first owner.
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

// sendCopies copies what is stored under a key to the key's second owner.
func (c *replicator) sendCopies(ctx context.Context, key string) {
	p := c.pages
	first, second := p.ring().Owners(key)
	if first != p.self || second == "" || !p.link.Up(second) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	// The digest is taken before the copy: what this board has obeyed by then
	// cannot be in it, and a board that has obeyed the same may keep it.
	digest := p.purger.Digest()
	for _, object := range p.cache.Peek(key) {
		if err := c.putCopy(ctx, second, key, digest, p.cache.AppendWire(nil, object)); err != nil {
			if !errors.Is(err, link.ErrPeerSilent) && ctx.Err() == nil {
				c.log.Debug("copy not taken", "board", second, "key", key, "error", err)
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
	resp, err := c.pages.link.Do(ctx, board, r)
	if err != nil {
		return fmt.Errorf("sending a copy: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("sending a copy: %s answered with status %d", board, resp.StatusCode)
	}
	return nil
}

// watchRing watches the ring and, when it has changed and stands still again,
// sends on what now has another second owner.
func (c *replicator) watchRing(ctx context.Context) {
	ticker := time.NewTicker(ringStableTime)
	defer ticker.Stop()
	settled := c.pages.ring()
	last := settled
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		ring := c.pages.ring()
		if ring != last {
			last = ring
			continue
		}
		if ring != settled {
			c.queueMovedKeys(ctx, settled, ring)
			settled = ring
		}
	}
}

// queueMovedKeys queues the keys whose owners have changed from one ring to the next.
func (c *replicator) queueMovedKeys(ctx context.Context, old, now *cluster.Ring) {
	pause := time.NewTicker(moveInterval)
	defer pause.Stop()
	for key := range c.pages.cache.Keys {
		first, second := now.Owners(key)
		wasFirst, wasSecond := old.Owners(key)
		if first != c.pages.self || second == "" || first == wasFirst && second == wasSecond {
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
