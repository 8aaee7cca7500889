package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"bramble/cluster"
	"bramble/cluster/ledger"
	"bramble/cluster/link"
	"bramble/cluster/purge"
	"bramble/node/certs"
	"bramble/node/config"
	"bramble/node/console"
	"bramble/node/origin"
)

// followMembership updates the link's list of boards from the rack's, and passes
// the rack's events on to the console, until ctx ends.
func (b *board) followMembership(ctx context.Context) {
	changes, stop := b.members.Watch()
	defer stop()
	refresh := time.Tick(heartbeatInterval)
	others := roster{members: b.members}
	for {
		peers := others.Peers()
		b.link.SetPeers(peers)
		if len(peers) > 0 {
			b.reachedPeer.Store(true)
		}
		b.shareOriginPermits()
		select {
		case <-ctx.Done():
			return
		case <-refresh:
		case event, open := <-changes:
			if !open {
				return
			}
			if event.Kind == cluster.Conflict && event.Board == b.cfg.Board.Name {
				b.nameTakenAt.Store(time.Now().UnixNano())
			}
			b.events.Publish(membershipEvent(event))
		}
	}
}

// isAlone reports whether this board expects no others: its settings name none and mDNS
// is off.
func (b *board) isAlone() bool {
	return countOtherAddrs(b.cfg.Rack, b.selfAddr()) == 0 && !b.cfg.Rack.MDNS
}

// shareOriginPermits divides the permits at the origins among the boards of the
// rack, and reports whether this board has its whole share. It has none until it has
// searched for its rack.
func (b *board) shareOriginPermits() bool {
	if !b.discoveryDone.Load() {
		return false
	}
	var boards []origin.RackMember
	for _, other := range b.members.Boards() {
		if other.Alive || !other.Departed {
			boards = append(boards, origin.RackMember{Name: other.Name, Alive: other.Alive})
		}
	}
	return b.sites.SharePermits(b.cfg.Board.Name, boards, b.isAlone(), time.Now())
}

// roster is the rack's membership as the purges see it (purge.Roster).
type roster struct {
	members     *cluster.Members
	join        int         // other boards' addresses in the configuration
	reachedPeer func() bool // another board was reached since the start
}

// Peers returns the live boards without this one.
func (r roster) Peers() []link.Peer {
	var peers []link.Peer
	for _, b := range r.members.Boards() {
		if b.Alive && !b.Self && b.Link != "" {
			peers = append(peers, link.Peer{Name: b.Name, Addr: b.Link})
		}
	}
	return peers
}

// KnownCount counts the boards of which a majority is needed. A board whose settings name
// others, and that has reached none since its start, counts one of them: it cannot
// know what they have purged.
func (r roster) KnownCount() int {
	_, known := r.members.Known()
	if known == 1 && r.join > 0 && !r.reachedPeer() {
		return 2
	}
	return known
}

// countOtherAddrs counts the join addresses that are not this board's own.
func countOtherAddrs(cfg config.RackSettings, self string) int {
	n := 0
	for _, addr := range cfg.Join {
		if addr != self {
			n++
		}
	}
	return n
}

// Paths on the rack link. The other parts define their own: purge.SyncPath, certs.Path,
// and those of rackcache and the ledger.
const (
	drainPath     = "/v1/drain"
	locatePath    = "/v1/locate"
	formCountPath = "/v1/forms/count"
)

func (b *board) peerRoutes(screen *console.Console) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+purge.SyncPath, b.purger)
	b.rackCache.RegisterRoutes(mux)
	mux.HandleFunc("POST "+drainPath, handleUndoable(b.drainBoard))
	mux.HandleFunc("POST "+locatePath, handleUndoable(b.locateBoard))
	mux.HandleFunc("POST "+failurePath, func(w http.ResponseWriter, r *http.Request) {
		screen.CountFailure(r.URL.Query().Get("client"))
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST "+formCountPath, b.countForm)
	if b.certs != nil {
		mux.Handle(certs.Path, b.certs.Handler())
	}
	b.orders.addRoutes(mux)
	return mux
}

// requestBoard sends another board a request without a body for a path of its peerRoutes.
func (b *board) requestBoard(ctx context.Context, board, method, path string) (*http.Response, error) {
	r, err := http.NewRequest(method, "https://board"+path, nil)
	if err != nil {
		return nil, err
	}
	return b.link.Control(ctx, board, r)
}

// handleUndoable carries out the command of another board's console, or undoes it.
func handleUndoable(do func(undo bool)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		do(r.URL.Query().Get("undo") == "1")
		w.WriteHeader(http.StatusNoContent)
	}
}

// Paths of the ledger on the rack link.
const (
	ledgerStreamPath = "/v1/ledger/stream" // GET: a raw connection between two rafts
	ledgerCallPath   = "/v1/ledger/call/"  // POST: a call of the kind that follows
)

// ledgerLink is the rack link as the ledger uses it (ledger.Transport).
type ledgerLink struct{ link *link.Link }

func (l ledgerLink) Stream(ctx context.Context, board string) (net.Conn, error) {
	return l.link.Stream(ctx, board, ledgerStreamPath)
}

func (l ledgerLink) Call(ctx context.Context, board, kind string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://board"+ledgerCallPath+kind, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ledger.ErrNotSent, err)
	}
	// net/http itself must not send a request twice that may have been carried out.
	r.GetBody = nil
	resp, sent, err := l.link.CallLedger(ctx, board, r)
	if err != nil {
		if !sent {
			err = fmt.Errorf("%w: %w", ledger.ErrNotSent, err)
		}
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, ledger.MaxCallBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the ledger of %s: %w", board, err)
	case len(answer) > ledger.MaxCallBytes:
		return nil, fmt.Errorf("the ledger of %s sent a response of more than %d bytes", board, ledger.MaxCallBytes)
	case resp.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("%w: %s has no ledger", ledger.ErrNotSent, board)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the ledger of %s: %s", board, answer)
	}
	return answer, nil
}
