package orderservice

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// minCompactInterval is the minimum time between two compactions of a board's log, so that a
	// wave of erasure requests does not wear out the card.
	minCompactInterval = time.Minute
	// maxLogAge is the age at which a board compacts a log that holds commands, also if nobody was erased: forms
	// that were refused are only there. Each board takes up to compactSpread less, so that they do not all write at once.
	maxLogAge     = 24 * time.Hour
	compactSpread = 4 * time.Hour
)

// scrub removes erased people, and forms that were refused, from this board's files.
type scrub struct {
	*Service
	maxAge         time.Duration
	looked, tried  time.Time // when the log's age was read, and when it was last compacted
	rewrittenUntil uint64    // ErasedAt of the last Rewrite
}

func newScrub(s *Service) *scrub {
	return &scrub{Service: s, maxAge: maxLogAge - rand.N(compactSpread)}
}

// runIfDue compacts the log if it may hold people who were erased, or is too old. Other boards see in
// Compacted that this one has. After a start, what an earlier one left is done again.
func (s *scrub) runIfDue(ctx context.Context) {
	through, status := s.cfg.Book.ErasedAt(), s.cfg.Ledger.Status()
	isErased := through > status.Compacted
	if !isErased && time.Since(s.looked) > minCompactInterval {
		s.looked = time.Now()
		if since := s.cfg.Ledger.LogSince(); !since.IsZero() && s.cfg.Clock().Sub(since).Abs() > s.maxAge {
			through = status.Applied
		}
	}
	if through <= status.Compacted || time.Since(s.tried) < minCompactInterval {
		return
	}
	s.tried = time.Now()
	var err error
	if isErased && s.rewrittenUntil < through {
		if err = s.cfg.Book.Rewrite(); err == nil {
			s.rewrittenUntil = through
		}
	}
	if err == nil {
		err = s.cfg.Ledger.CompactThrough(ctx, through)
	}
	if err != nil && ctx.Err() == nil {
		s.cfg.Logger.Warn("compacting this board's log failed: it still contains people who were erased, or forms that were refused; it will be retried", "error", err)
	}
}

// ErasureJSON tells which boards have removed what was erased from their files. Fields may be added; these
// keep their names, types and meaning.
type ErasureJSON struct {
	Entry  uint64             `json:"entry"` // of the newest erasure in the ledger
	Boards []ErasureBoardJSON `json:"boards"`
}

// ErasureBoardJSON is a board in an ErasureJSON.
type ErasureBoardJSON struct {
	Board    string `json:"board"`
	IsDone   bool   `json:"done"`      // no file has what was erased up to Entry, except the folders set aside
	Trouble  string `json:"trouble"`   // why the board cannot do it now, "" if it will
	SetAside int    `json:"set_aside"` // folders with files that were set aside, which may have people
}

func (s *Service) readErasure(ctx context.Context, operator LedgerOperator) ErasureJSON {
	fresh, cancel := context.WithTimeout(ctx, freshTimeout)
	defer cancel()
	_ = s.barrier.wait(fresh) // without a majority nothing new was erased
	e := ErasureJSON{Entry: s.cfg.Book.ErasedAt()}
	own := s.cfg.Ledger.Status().Ledger
	for _, b := range operator.Boards(ctx) {
		isDone := e.Entry > 0 && b.Ledger == own && b.Compacted >= e.Entry
		e.Boards = append(e.Boards, ErasureBoardJSON{b.Board, isDone, b.Trouble, b.SetAside})
	}
	return e
}
