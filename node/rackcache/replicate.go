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
	// maxQueuedReplicas bounds the keys whose objects wait to be sent to second owners. One
	// that does not fit is dropped: without the replica the second owner fetches the page.
	maxQueuedReplicas = 256
	// replicaWorkers is the number of senders: one works while another waits for the network.
	replicaWorkers = 2
	// replicaTimeout bounds the sending of one object.
	replicaTimeout = 10 * time.Second
	// ringStableTime is the time for which the ring must not change before replicas go to their
	// new second owners: boards join and leave in bursts.
	ringStableTime = 2 * time.Second
	// moveInterval is the pause between two replicas that go to a new second owner, so that
	// a rack that recovers keeps its links free for clients: 200 objects per second.
	moveInterval = 5 * time.Millisecond
)

// replicator sends a replica of each object that this board stores as first owner to
// the key's second owner, so that the loss of one board causes no storm on the origin.
// It sends replicas again when keys have changed their owners.
type replicator struct {
	handler *PageHandler
	log     *slog.Logger
	queue   chan string
	sent    atomic.Int64
	dropped atomic.Int64
}

func newReplicator(h *PageHandler, log *slog.Logger) *replicator {
	return &replicator{handler: h, log: log, queue: make(chan string, maxQueuedReplicas)}
}

// Stats are the totals of the replicas for second owners, since the start.
type Stats struct {
	ReplicasSent    int64
	ReplicasDropped int64 // the queue was full, or the second owner did not store it
}

// Stats returns the current totals.
func (h *PageHandler) Stats() Stats {
	return Stats{ReplicasSent: h.replicator.sent.Load(), ReplicasDropped: h.replicator.dropped.Load()}
}

// queueReplica queues an object for the second owner. The cache calls it for each object
// that this board stores as first owner.
func (r *replicator) queueReplica(o *cache.Object) {
	select {
	case r.queue <- o.Key():
	default:
		r.dropped.Add(1)
	}
}

func (r *replicator) run(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	for range replicaWorkers {
		workers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case key := <-r.queue:
					r.sendReplicas(ctx, key)
				}
			}
		})
	}
	r.watchRing(ctx)
}

// sendReplicas sends everything stored under a key to the key's second owner.
func (r *replicator) sendReplicas(ctx context.Context, key string) {
	h := r.handler
	first, second := h.Ring().Owners(key)
	if first != h.self || second == "" || !h.Link.Up(second) || h.isOwnViewKey(key) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, replicaTimeout)
	defer cancel()
	// The digest is read before the objects: they contain nothing that this board had
	// purged by then, so a board that has applied the same purges may store them.
	digest := h.Purges.Digest()
	for _, object := range h.cache.Peek(key) {
		if err := r.putReplica(ctx, second, key, digest, h.cache.AppendWire(nil, object)); err != nil {
			if !errors.Is(err, link.ErrPeerSilent) && ctx.Err() == nil {
				r.log.Debug("replica refused", "board", second, "key", key, "error", err)
			}
			r.dropped.Add(1)
			return
		}
		r.sent.Add(1)
	}
}

func (r *replicator) putReplica(ctx context.Context, board, key string, digest uint64, wire []byte) error {
	query := url.Values{"key": {key}, "purges": {strconv.FormatUint(digest, 16)}}
	request, err := http.NewRequest(http.MethodPut, "https://board"+objectPath+"?"+query.Encode(), bytes.NewReader(wire))
	if err != nil {
		return fmt.Errorf("sending a replica: %w", err)
	}
	resp, err := r.handler.Link.Do(ctx, board, request)
	if err != nil {
		return fmt.Errorf("sending a replica: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("sending a replica: %s answered with status %d", board, resp.StatusCode)
	}
	return nil
}

// watchRing waits until the ring has changed and is stable again, and then queues the
// keys that have new owners, until ctx ends.
func (r *replicator) watchRing(ctx context.Context) {
	ticker := time.NewTicker(ringStableTime)
	defer ticker.Stop()
	stable := r.handler.Ring()
	last := stable
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		ring := r.handler.Ring()
		if ring != last {
			last = ring
			continue
		}
		if ring != stable {
			r.queueMovedKeys(ctx, stable, ring)
			stable = ring
		}
	}
}

// queueMovedKeys queues the keys whose owners differ between two rings.
func (r *replicator) queueMovedKeys(ctx context.Context, old, now OwnerRing) {
	pause := time.NewTicker(moveInterval)
	defer pause.Stop()
	for key := range r.handler.cache.Keys {
		first, second := now.Owners(key)
		oldFirst, oldSecond := old.Owners(key)
		if first != r.handler.self || second == "" || first == oldFirst && second == oldSecond {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case r.queue <- key:
		}
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
	}
}
