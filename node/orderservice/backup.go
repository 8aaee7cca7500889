package orderservice

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"bramble/node/backup"
	"bramble/node/orders"
)

const (
	// backupTimeout limits one backup that an operator's client fetches: the order book's
	// working copy grows while a snapshot is open.
	backupTimeout = 10 * time.Minute
	// maxClockLead limits the lead of a backup's clock over the rack's without an operator's
	// word: boards' clocks differ by less.
	maxClockLead = time.Minute
	// rulesRise is the number of seconds in which a new rack comes to the rules that all its programs know.
	rulesRise = 60
	// erasedAreBack is said at the end of a restore, and is a notice for restoredNotice.
	restoredNotice = 30 * 24 * time.Hour
	erasedAreBack  = "People who were erased after the backup are back, with their data. The backup cannot name them: erase those of your own list again (bramble orders erase)."
)

// RestoreRequest is a step of a restore. Action is begin, finish or cancel. OpID is a random
// number that the client draws for the restore; between begin and finish the client puts
// each chunk to restore/{op_id}/{number}. A step that is sent again is carried out once.
type RestoreRequest struct {
	Action      string         `json:"action"`
	Operator    string         `json:"operator"`
	OpID        uint64         `json:"op_id,string"`
	Header      *backup.Header `json:"header,omitempty"`       // begin
	Chunks      int            `json:"chunks,omitempty"`       // begin: their number
	Sum         string         `json:"sum,omitempty"`          // begin: SHA-256 of all chunks, hex
	AcceptClock bool           `json:"accept_clock,omitempty"` // begin: the backup's clock may be ahead of the rack's
}

// RestoreJSON is the restore that keeps orders and operators' commands out.
type RestoreJSON struct {
	InProgress bool       `json:"in_progress"` // the rest is empty without
	Operator   string     `json:"operator,omitempty"`
	Parts      int        `json:"parts,omitempty"` // that the rack has
	All        int        `json:"all,omitempty"`   // the parts of the backup
	Until      *time.Time `json:"until,omitempty"` // it ends then, by the ledger's clock, unless a part arrives
	Text       string     `json:"text,omitempty"`  // for a person
}

func (s *Service) newRestoreJSON() RestoreJSON {
	r := s.readRestore()
	if r == nil {
		return RestoreJSON{}
	}
	return RestoreJSON{InProgress: true, Operator: r.Operator, Parts: r.Parts, All: r.All, Until: timeOrNil(r.Until), Text: describeRestore(r)}
}

// Backup writes a backup of this board's order book as a plain stream; it is a
// backup.Source. One at a time is written; others wait until ctx ends.
func (s *Service) Backup(ctx context.Context, to io.Writer) error {
	return s.backupOf(ctx, s.cfg.Book, backup.Header{}, to)
}

// backupOf is Backup of a book. h has what the caller knows of the copy.
func (s *Service) backupOf(ctx context.Context, book *orders.Book, h backup.Header, to io.Writer) error {
	select {
	case s.backingUp <- struct{}{}:
		defer func() { <-s.backingUp }()
	case <-ctx.Done():
		return fmt.Errorf("another backup is being written: %w", ctx.Err())
	}
	copied, p, err := book.OpenBackup()
	if err != nil {
		return err
	}
	defer copied.Close()
	status := s.cfg.Ledger.Status()
	h.Program, h.Board, h.Ledger, h.Rules = s.cfg.Version, s.cfg.Board, status.Ledger, max(status.Rules, book.Rules())
	h.Index, h.At, h.Digest, h.Orders, h.Products = p.Index, p.At, backup.FormatDigest(p.Digest), p.Orders, p.Products
	if !book.HasSecret() {
		h.ReceiptKeys = s.deriveRackKeys(receiptPurpose) // otherwise the book has all of them
	}
	return backup.WriteStream(contextWriter{ctx, to}, h, copied)
}

// BackupCaughtUp is Backup after this board has applied everything that was acknowledged
// anywhere.
func (s *Service) BackupCaughtUp(ctx context.Context, to io.Writer) error {
	if err := s.awaitBarrier(ctx); err != nil {
		return err
	}
	return s.Backup(ctx, to)
}

// contextWriter fails once its context has ended.
type contextWriter struct {
	ctx context.Context
	to  io.Writer
}

func (c contextWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.to.Write(p)
}

// serveBackup answers with the plain stream of a backup. A client that stops reading ends it.
func (s *Service) serveBackup(w http.ResponseWriter, r *http.Request) {
	book, stale, err := s.bookFor(r)
	if err != nil {
		writeError(w, err)
		return
	}
	var h backup.Header
	if stale != nil {
		h.Unproven = stale.Unproven
		if status := s.cfg.Ledger.Status(); !stale.FromLog || stale.Damage != "" {
			h.Lacks = max(status.LastEntry, status.Applied+status.Lag) - min(stale.Entry, status.LastEntry)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), backupTimeout)
	defer cancel()
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := s.backupOf(ctx, book, h, w); err != nil {
		s.cfg.Logger.Warn("a backup for an operator was cut off", "error", err)
		panic(http.ErrAbortHandler) // so that the client does not take it for complete
	}
}

func (s *Service) showBackups(*http.Request) (any, error) {
	if s.cfg.BackupStatus == nil {
		return []backup.TargetStatus{}, nil
	}
	return s.cfg.BackupStatus(), nil
}

func (s *Service) restoreStep(ctx context.Context, r RestoreRequest) (result OperatorResult, err error) {
	r.Operator = nameOperator(ctx, r.Operator)
	by := orders.Operation{Operator: r.Operator, OpID: r.OpID}
	switch r.Action {
	case "begin":
		var c orders.BeginRestore
		if c, err = s.checkRestore(r); err == nil {
			_, err = s.submitRestore(ctx, c)
			result.Text = s.missingProducts(r.Header)
		}
	case "finish":
		var a orders.Answer
		a, err = s.submitRestore(ctx, orders.FinishRestore{Operation: by})
		result.Text = fmt.Sprintf("Done. The rack has %d orders.\n", a.Count) + s.describeRestored()
	case "cancel":
		ended := s.cfg.Book.RestoreInProgress()
		var a orders.Answer
		a, err = s.submitRestore(ctx, orders.CancelRestore{Operation: by})
		switch {
		case a.Outcome == orders.AlreadyDone:
			result.Text = "No restore is in progress, so nothing was ended."
		case ended != nil:
			result.Text = fmt.Sprintf("Done. The restore that %s began has ended, and its %d of %d parts are removed. The rack is as it was before.", ended.Operator, ended.Parts, ended.All)
		default:
			result.Text = "Done. The restore has ended. The rack is as it was before."
		}
	default:
		err = fmt.Errorf("%w: action is one of begin, finish and cancel", errMalformed)
	}
	return result, err
}

// describeRestored says what an older backup brings back, and which draws may be made a second time.
func (s *Service) describeRestored() string {
	_, at := s.cfg.Book.RestoredFrom()
	text := "Links of receipts that ended after the backup open again. If they ended because of a theft, end them again: bramble orders relink --revoke\n" + erasedAreBack
	var undrawn []string
	for _, sale := range s.cfg.Book.Sales() {
		if sale.Mode == orders.Ballot && !sale.Opens.After(s.Now()) && (sale.Draw.At.IsZero() || !at.IsZero() && !sale.Draw.At.Before(at)) {
			undrawn = append(undrawn, sale.Product)
		}
	}
	if len(undrawn) > 0 {
		text += "\nBallots that the backup has not drawn: " + strings.Join(undrawn, ", ") + ". If the old rack drew them after it, mails to its winners may have gone out, and this rack draws others: see Restore in the guide."
	}
	return text
}

// checkRestore returns the command that begins a restore, or why it must not begin.
func (s *Service) checkRestore(r RestoreRequest) (orders.BeginRestore, error) {
	c := orders.BeginRestore{Operation: orders.Operation{Operator: r.Operator, OpID: r.OpID}, Chunks: r.Chunks}
	sum, err := hex.DecodeString(r.Sum)
	if err != nil || len(sum) != len(c.Sum) || r.Header == nil {
		return c, fmt.Errorf("%w: begin needs header, chunks and sum", errMalformed)
	}
	copy(c.Sum[:], sum)
	for _, key := range r.Header.ReceiptKeys {
		if len(key) != 32 {
			return c, fmt.Errorf("%w: a key of receipts has 32 bytes", errMalformed)
		}
		c.ReceiptKeys = append(c.ReceiptKeys, [32]byte(key))
	}
	status := s.cfg.Ledger.Status()
	if !status.Founded || status.Leader == "" {
		return c, fmt.Errorf("%w: the rack's ledger does not work yet: %s", orders.ErrUnavailable, status.Trouble)
	}
	need := max(r.Header.Rules, orders.RestoreRules)
	if inForce := status.Rules; inForce < need && need <= status.MaxRules && status.RulesHeldSeconds < rulesRise {
		return c, fmt.Errorf("%w: the rack has just begun, and uses rules %d until every board has answered; this needs rules %d", orders.ErrUnavailable, inForce, need)
	} else if inForce < need {
		return c, fmt.Errorf("%w: the rack still uses rules %d, and this needs rules %d: update all boards",
			errRefused, inForce, need)
	}
	if now := s.Now(); !r.AcceptClock && r.Header.At.Sub(now) > maxClockLead {
		return c, fmt.Errorf("%w: the backup's clock, %s, is ahead of this rack's, %s: set the boards' clocks right; "+
			"or restore with --accept-clock, and sales, draws and deadlines stand still until the rack's clock is there",
			errRefused, r.Header.At.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return c, nil
}

// missingProducts names the products of a backup that this board's catalogue lacks.
func (s *Service) missingProducts(h *backup.Header) string {
	var missing []string
	for _, product := range h.Products {
		if _, known := s.findOffer(product); !known {
			missing = append(missing, product)
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return "The catalogue of " + s.cfg.Board + " lacks products of the backup, so they have no page: " + strings.Join(missing, ", ") +
		". A backup has no catalogue: copy it from the old rack."
}

func (s *Service) putRestoreChunk(r *http.Request) (any, error) {
	opID, err := strconv.ParseUint(r.PathValue("op"), 10, 64)
	number, numberErr := strconv.Atoi(r.PathValue("number"))
	data, readErr := io.ReadAll(r.Body)
	if err != nil || numberErr != nil || readErr != nil || len(data) > orders.MaxRestoreChunk {
		return nil, fmt.Errorf("%w: a chunk has a restore's op_id, its number, and at most %d bytes", errMalformed, orders.MaxRestoreChunk)
	}
	_, err = s.submitRestore(r.Context(), orders.AddRestoreChunk{OpID: opID, Number: number, Data: data})
	return OperatorResult{Text: "Done."}, err
}

// submitRestore submits a command of a restore until it is decided.
func (s *Service) submitRestore(ctx context.Context, c orders.Command) (orders.Answer, error) {
	if err := orders.Check(c); err != nil {
		return orders.Answer{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	a, err := s.submitUntilDecided(ctx, c)
	if err != nil {
		return a, err
	}
	switch a.Outcome {
	case orders.Done, orders.AlreadyDone:
		return a, nil
	case orders.TooLate:
		return a, fmt.Errorf("%w: this rack is not empty: a backup is restored only into a rack without orders and operators' changes. "+
			"Give the boards fresh cards, or empty [orders] directories, and start them again", errRefused)
	case orders.NoOrder:
		return a, fmt.Errorf("%w: this restore was replaced by another, cancelled or abandoned: start it again", errRefused)
	case orders.NotEnough:
		return a, fmt.Errorf("%w: %d parts of the backup are missing: start the restore again", errRefused, a.Remaining)
	}
	return a, fmt.Errorf("%w: the order book cannot be restored from this backup (%s); the rack is as it was", errRefused, a.Outcome)
}
