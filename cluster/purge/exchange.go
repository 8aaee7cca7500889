package purge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"bramble/cluster/link"
)

// SyncPath is where a Syncer answers on the rack link.
const SyncPath = "/v1/purge-sync"

const (
	// maxMessage bounds one message in bytes: a full vector and a full batch of
	// the longest purges.
	maxMessage = 8 << 20
	// maxRounds bounds the messages of one exchange; the next exchange continues.
	maxRounds = 2 + maxRecords/maxBatch
)

// syncMessage is the one message of an exchange, as request and as response.
type syncMessage struct {
	Digest uint64  `json:"digest,string"`
	Vector Vector  `json:"vector"`          // null if the digests are equal
	Batch  []Range `json:"batch,omitempty"` // what the other board lacks, as far as this one knows
}

// exchange sends messages to a board until both have applied the same purges, and
// records the contact. With push the first message already carries the purges that the
// board lacked at the last exchange.
func (s *Syncer) exchange(ctx context.Context, board string, push bool) error {
	ctx, cancel := context.WithTimeout(ctx, s.timing.ExchangeTimeout)
	defer cancel()
	began := s.Now()
	out := syncMessage{Digest: s.purges.Digest()}
	if push {
		s.mu.Lock()
		known := s.vectors[board]
		s.mu.Unlock()
		if known != nil {
			out.Vector, out.Batch = s.purges.Vector(), s.purges.Missing(known)
		}
	}
	for range maxRounds {
		in, err := s.sendMessage(ctx, board, out)
		if err != nil {
			return err
		}
		if err := s.purges.Merge(in.Batch); err != nil {
			return fmt.Errorf("applying the purges that %s sent: %w", board, err)
		}
		if in.Vector != nil {
			s.setVector(board, in.Vector)
		}
		own := s.purges.Vector()
		if in.Digest == own.Digest() {
			s.setVector(board, own)
			s.noteContact(board, began)
			return nil
		}
		out = syncMessage{Digest: own.Digest(), Vector: own, Batch: s.purges.Missing(in.Vector)}
	}
	return fmt.Errorf("purges: %s and this board still differ after %d messages", board, maxRounds)
}

func (s *Syncer) setVector(board string, v Vector) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vectors[board] = v
}

func (s *Syncer) sendMessage(ctx context.Context, board string, out syncMessage) (syncMessage, error) {
	body, err := json.Marshal(out)
	if err != nil {
		return syncMessage{}, fmt.Errorf("writing a purge message: %w", err)
	}
	r, err := http.NewRequest(http.MethodPost, "https://board"+SyncPath, bytes.NewReader(body))
	if err != nil {
		return syncMessage{}, fmt.Errorf("writing a purge message: %w", err)
	}
	resp, err := s.caller.Control(ctx, board, r)
	if err != nil {
		return syncMessage{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return syncMessage{}, fmt.Errorf("purges: %s answered a message with status %d", board, resp.StatusCode)
	}
	return readMessage(resp.Body)
}

func readMessage(r io.Reader) (syncMessage, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxMessage+1))
	if err != nil {
		return syncMessage{}, fmt.Errorf("reading a purge message: %w", err)
	}
	if len(data) > maxMessage {
		return syncMessage{}, fmt.Errorf("purges: a message has more than %d bytes", maxMessage)
	}
	var in syncMessage
	if err := json.Unmarshal(data, &in); err != nil {
		return syncMessage{}, fmt.Errorf("reading a purge message: %w", err)
	}
	if len(in.Vector) > maxIssuers || len(in.Batch) > maxIssuers {
		return syncMessage{}, fmt.Errorf("purges: a message has more than %d issuers", maxIssuers)
	}
	return in, nil
}

// ServeHTTP answers another board's message.
func (s *Syncer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in, err := readMessage(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := s.purges.Merge(in.Batch); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out := syncMessage{Digest: s.purges.Digest()}
	if out.Digest != in.Digest {
		out.Vector = s.purges.Vector()
		if in.Vector != nil {
			out.Batch = s.purges.Missing(in.Vector)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(out); err != nil {
		s.logger.Debug("purges: answering a message", "board", link.PeerName(r), "error", err)
	}
}
