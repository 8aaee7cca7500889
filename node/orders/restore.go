package orders

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/bbolt"
)

// A backup is restored through the ledger: one command begins, one for each chunk follows,
// and the last one replaces the empty book by the restored one, on every board at the same
// entry. The chunks wait in a bucket, so a snapshot has them, and a board that restarts, joins
// or takes over the lead in between goes on as if nothing had happened. Until the last
// command the book is the empty one; after it, the restored one.

const (
	// MaxRestoreChunk and MaxRestoreChunks limit one chunk, in bytes, and their number: more
	// than two million orders.
	MaxRestoreChunk  = 56 << 10
	MaxRestoreChunks = 16 << 10
	// MaxRestoreCommand limits the encoding of an AddRestoreChunk, in place of MaxCommand.
	MaxRestoreCommand = MaxRestoreChunk + 32
	// restoreTimeout is the time without a chunk after which a restore counts as abandoned,
	// so that a command that was cut off does not keep the shop closed.
	restoreTimeout = 10 * time.Minute
)

// The keys of the restore bucket.
const (
	restoreBeginKey = "begin"   // → see pendingRestore; while a restore is in progress
	restoreDoneKey  = "done"    // → OpID (8) of the restore that made this book
	restoredKey     = "from"    // → the times (8 each, Unix milliseconds) of the backup and of its restore, until the first Erase of somebody
	restoreChunkKey = "chunk:"  // and the chunk's number (4) → its bytes
	receiptKeyKey   = "key:"    // and a number (1) → a key of receipts (32); if it is own or ended, both as bytes
	erasedKey       = "erased"  // → index (8) of the newest entry that erases people, under rules 2
	mailTimesKey    = "mail:"   // and e-mail (16) and spelling (1) → times (8 each): see mailTimes; with linksPart, or mailbox (16) and sale (2): see addConfirmMail
	confirmQueueKey = "confirm" // → confirmQueue
	waitingFormKey  = "form:"   // and network (2) and order number (8) → ordinal (8) among the network's forms of that queue
	unsentMailKey   = "unsent"  // → number (8) of the mails that were not needed
	revokedKey      = "revoked" // → when all links ended (8, Unix milliseconds)
	linkMailKey     = "links"   // → see queueLinkMails; while mails with new links are queued
)

// BeginRestore begins to restore a book's snapshot into an empty book: one without an order
// and an operator's act; the catalogue's offers do not count. Its OpID names the restore. It
// replaces a restore in progress. TooLate: the book is not empty.
type BeginRestore struct {
	Operation
	Chunks int
	Sum    [32]byte // SHA-256 of the snapshot
	// ReceiptKeys verify the links of the receipts of the backup's rack.
	ReceiptKeys [][32]byte
}

// AddRestoreChunk adds a chunk of the snapshot. NoOrder: no such restore is in progress.
type AddRestoreChunk struct {
	OpID   uint64
	Number int // from 0
	Data   []byte
}

// FinishRestore replaces the book. NotEnough: Answer.Remaining chunks are missing. TooLate: as
// in BeginRestore. Malformed: the chunks are not the snapshot that was begun.
type FinishRestore struct{ Operation }

// CancelRestore drops the chunks of any restore in progress.
type CancelRestore struct{ Operation }

func (b BeginRestore) checkFields() error {
	return cmp.Or(
		b.Operation.checkFields(),
		requireField(b.Chunks >= 1 && b.Chunks <= MaxRestoreChunks, "Chunks", "is not 1 to %d", MaxRestoreChunks),
		requireField(len(b.ReceiptKeys) <= MaxReceiptKeys, "ReceiptKeys", "are more than %d", MaxReceiptKeys),
	)
}

func (a AddRestoreChunk) checkFields() error {
	return cmp.Or(
		requireField(a.OpID != 0, "OpID", "is missing"),
		requireField(a.Number >= 0 && a.Number < MaxRestoreChunks, "Number", "is not a chunk's"),
		requireField(len(a.Data) > 0 && len(a.Data) <= MaxRestoreChunk, "Data", "has not 1 to %d bytes", MaxRestoreChunk),
	)
}

// pendingRestore is the record of a restore in progress.
type pendingRestore struct {
	command BeginRestore
	active  int64 // time of its newest command, Unix milliseconds
}

func (p *pendingRestore) codeFields(c fieldCodec) {
	c.codeAll(&p.active)
	p.command.codeFields(c)
}

func (a *applyTx) readRestore() (r pendingRestore, ok bool) {
	data := a.restore.Get([]byte(restoreBeginKey))
	if data == nil {
		return r, false
	}
	d := &decoder{data: data}
	r.codeFields(fieldCodec{from: d})
	if !d.done() {
		a.fail(fmt.Errorf("%w: the record of a restore cannot be read", ErrBroken))
		return r, false
	}
	return r, true
}

func (a *applyTx) writeRestore(r pendingRestore) {
	w := &encoder{}
	r.codeFields(fieldCodec{to: w})
	a.put(a.restore, []byte(restoreBeginKey), w.data)
}

// RestoreProgress describes a restore in progress.
type RestoreProgress struct {
	Operator   string    // who began it
	Parts, All int       // the parts that the book has, and all of them
	Until      time.Time // if no part arrives before, by the ledger's clock, the restore counts as abandoned
}

// RestoreInProgress returns the restore in progress, also one that was cut off; nil if there is
// none.
func (b *Book) RestoreInProgress() *RestoreProgress { return b.readModel.Load().restoring }

// RestoredFrom returns the time of the backup that the book was restored from, and when; zero times if it was not, under rules 1
// and 2, and after the first Erase of somebody that followed. People who were erased after the backup are back.
func (b *Book) RestoredFrom() (backup, at time.Time) {
	v := b.readModel.Load()
	return v.restored[0], v.restored[1]
}

// readRestoreProgress returns the progress for the read model.
func (a *applyTx) readRestoreProgress() *RestoreProgress {
	r, ok := a.readRestore()
	if !ok {
		return nil
	}
	p := &RestoreProgress{Operator: r.command.Operator, All: r.command.Chunks, Until: fromMillis(r.active + restoreTimeout.Milliseconds())}
	// The client sends the parts in order.
	c := a.restore.Cursor()
	k, _ := c.Seek(binary.BigEndian.AppendUint32([]byte(restoreChunkKey), MaxRestoreChunks))
	if k == nil {
		k, _ = c.Last()
	} else {
		k, _ = c.Prev()
	}
	if number, found := bytes.CutPrefix(k, []byte(restoreChunkKey)); found {
		p.Parts = int(binary.BigEndian.Uint32(number)) + 1
	}
	return p
}

// dropRestore removes the restore in progress and its chunks.
func (a *applyTx) dropRestore() {
	a.remove(a.restore, []byte(restoreBeginKey))
	a.removePrefix(a.restore, []byte(restoreChunkKey))
}

// refusesOrders reports whether a restore keeps orders and operators' commands out. One that was abandoned is dropped.
func (a *applyTx) refusesOrders() bool {
	r, ok := a.readRestore()
	if !ok {
		return false
	}
	if a.at-r.active <= restoreTimeout.Milliseconds() {
		return true
	}
	a.dropRestore()
	return false
}

// isDoneRestore reports whether the book is the result of a restore.
func (a *applyTx) isDoneRestore(opID uint64) bool {
	return bytes.Equal(a.restore.Get([]byte(restoreDoneKey)), uint64Key(opID))
}

// isUntouched reports whether the book has no order, and no act but offers, settings of the clock and
// what was refused.
func (a *applyTx) isUntouched() bool {
	if a.b.meta.orders > 0 || a.b.meta.news > 0 {
		return false
	}
	c := a.bucket(bucketAudit).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		e, _ := decodeAudit(k, v)
		changesNothing := strings.Contains(e.Action, auditRefused) || strings.HasPrefix(e.Action, auditSetClock) || strings.HasPrefix(e.Action, auditKeptClock)
		if e.Operator != CatalogueOperator && e.Operator != ledgerOperator && !changesNothing {
			return false
		}
	}
	return true
}

func (a *applyTx) beginRestore(c BeginRestore) Answer {
	r, ok := a.readRestore()
	switch {
	case a.isDoneRestore(c.OpID), ok && r.command.OpID == c.OpID:
		return Answer{Outcome: AlreadyDone}
	case !a.isUntouched():
		return Answer{Outcome: TooLate}
	}
	a.dropRestore()
	a.writeRestore(pendingRestore{command: c, active: a.at})
	return Answer{Outcome: Done}
}

func (a *applyTx) addRestoreChunk(c AddRestoreChunk) Answer {
	r, ok := a.readRestore()
	if !ok || r.command.OpID != c.OpID || c.Number >= r.command.Chunks {
		return Answer{Outcome: NoOrder}
	}
	key := binary.BigEndian.AppendUint32([]byte(restoreChunkKey), uint32(c.Number))
	a.put(a.restore, key, c.Data)
	r.active = a.at
	a.writeRestore(r)
	return Answer{Outcome: Done}
}

func (a *applyTx) cancelRestore() Answer {
	if _, ok := a.readRestore(); !ok {
		return Answer{Outcome: AlreadyDone}
	}
	a.dropRestore()
	return Answer{Outcome: Done}
}

// finishRestore builds the restored book beside the empty one and goes on with it: the other
// commands of the batch are carried out by the restored book.
func (a *applyTx) finishRestore(c FinishRestore) Answer {
	r, ok := a.readRestore()
	switch {
	case a.isDoneRestore(c.OpID):
		return Answer{Outcome: AlreadyDone, Count: int(a.b.meta.orders)}
	case !ok || r.command.OpID != c.OpID:
		return Answer{Outcome: NoOrder}
	case !a.isUntouched():
		a.dropRestore()
		return Answer{Outcome: TooLate}
	}
	var chunks []io.Reader
	for n := range r.command.Chunks {
		if data := a.restore.Get(binary.BigEndian.AppendUint32([]byte(restoreChunkKey), uint32(n))); data != nil {
			chunks = append(chunks, bytes.NewReader(data))
		}
	}
	if missing := r.command.Chunks - len(chunks); missing > 0 {
		return Answer{Outcome: NotEnough, Remaining: missing}
	}
	sum := sha256.New()
	next, err := a.b.buildFrom(io.TeeReader(io.MultiReader(chunks...), sum))
	switch {
	case errors.Is(err, ErrSnapshot), errors.Is(err, ErrBroken):
		a.dropRestore()
		return Answer{Outcome: Malformed}
	case err != nil:
		a.fail(fmt.Errorf("%w: restoring a backup: %w", ErrDisk, err))
		return Answer{}
	case !bytes.Equal(sum.Sum(nil), r.command.Sum[:]):
		a.dropRestore()
		if err := discardWorkingCopy(next.db); err != nil {
			a.fail(fmt.Errorf("%w: %w", ErrDisk, err))
		}
		return Answer{Outcome: Malformed}
	}
	own, backupAt := readReceiptKeys(a.restore), next.meta.at
	a.adoptBook(next)
	if a.err != nil {
		return Answer{}
	}
	a.dropRestore()
	a.put(a.restore, []byte(restoreDoneKey), uint64Key(c.OpID))
	if a.rules.isNeutral {
		a.put(a.restore, []byte(restoredKey), append(uint64Key(uint64(backupAt)), uint64Key(uint64(a.at))...))
	}
	a.noteErasure() // the backup's index is of another ledger
	a.addReceiptKeys(r.command.ReceiptKeys)
	if keys := readReceiptKeys(a.restore); !slices.ContainsFunc(keys, ReceiptKey.isOwn) { // of a program before secrets
		a.putReceiptKeys(append(keys[max(0, len(keys)+len(own)-MaxReceiptKeys):], own...))
	}
	a.appendAudit(c.Operator, fmt.Sprintf("restore a backup of %d orders", a.b.meta.orders))
	return Answer{Outcome: Done, Count: int(a.b.meta.orders)}
}

// adoptBook makes the batch go on in another book. The old one stays until the batch is
// committed.
func (a *applyTx) adoptBook(next *Book) {
	before := a.b.meta
	versions := map[string]uint64{}
	for _, s := range a.b.sales {
		versions[s.Product] = s.Version
	}
	for _, s := range next.sales {
		s.Version = max(s.Version, versions[s.Product]) + 1
	}
	tx, err := next.db.Begin(true)
	if err != nil {
		a.fail(errors.Join(fmt.Errorf("%w: restoring a backup: %w", ErrDisk, err), discardWorkingCopy(next.db)))
		return
	}
	if err := a.tx.Rollback(); err != nil {
		a.fail(errors.Join(fmt.Errorf("%w: restoring a backup: %w", ErrDisk, err), tx.Rollback(), discardWorkingCopy(next.db)))
		return
	}
	next.meta.digest = xxhash.Sum64(append(uint64Key(before.digest), uint64Key(next.meta.digest)...))
	next.meta.index, next.meta.at = before.index, max(before.at, next.meta.at)
	a.b.adoptMemory(next)
	rules := a.rules.version
	*a = *newApplyTx(a.b, tx)
	a.replaced = next.db
	a.raiseRules(rules)
	for _, s := range a.b.sales {
		a.touch(s)
	}
}

// Position describes the book's state at one entry of the ledger.
type Position struct {
	Index    uint64    // of the entry
	At       time.Time // the book's clock
	Digest   uint64
	Orders   uint64   // so far, of all kinds
	Products []string // in the order of their offers
}

// OpenBackup returns a snapshot, and its position. It must be closed.
func (b *Book) OpenBackup() (s interface {
	io.WriterTo
	io.Closer
}, p Position, err error) {
	opened, err := b.openSnapshot()
	if err != nil {
		return nil, p, err
	}
	copied := &Book{}
	if err := copied.loadMemory(opened.tx); err != nil {
		return nil, p, errors.Join(err, opened.Close())
	}
	m := copied.meta
	p = Position{Index: m.index, At: fromMillis(m.at), Digest: m.digest, Orders: m.orders}
	for _, s := range copied.sales {
		p.Products = append(p.Products, s.Product)
	}
	return opened, p, nil
}

// abandonBatch takes back a batch that failed.
func (a *applyTx) abandonBatch() error {
	return errors.Join(a.tx.Rollback(), discardWorkingCopy(a.replaced))
}

// replaceWorkingCopy makes readers use another working copy and its model, and removes the old one.
func (b *Book) replaceWorkingCopy(db *bbolt.DB, v *readModel) error {
	b.mu.Lock()
	old := b.db
	b.db = db
	b.readModel.Store(v)
	b.mu.Unlock()
	return discardWorkingCopy(old)
}
