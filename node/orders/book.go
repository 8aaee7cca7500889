package orders

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
)

// bucketForm is a bucket of the working copy, with the lengths of its keys and values in bytes. Code that splits them relies
// on these; records, of anyLength, have their own decoders.
type bucketForm struct {
	name       string
	key, value int
}

const anyLength = -1

func (b bucketForm) fits(key, value int) bool {
	return (b.key == anyLength || key == b.key) && (b.value == anyLength || value == b.value)
}

var buckets = []bucketForm{
	{bucketMeta, len(stateKey), anyLength}, {bucketSales, 2, anyLength}, {bucketOrders, 8, anyLength}, {bucketIDs, 8, 8},
	{bucketPeople, anyLength, 21}, {bucketAddresses, 26, 4}, {bucketQueue, 10, 8}, {bucketQueueBlocks, 6, 4}, {bucketBallotEntries, 10, 13},
	{bucketTickets, 42, 0}, {bucketTimers, 16, 0}, {bucketOutbox, 17, 1}, {bucketNews, 8, anyLength}, {bucketAudit, 8, anyLength},
	{bucketOperations, 8, anyLength}, {bucketOperationLog, 8, 8}, {bucketRestore, anyLength, anyLength},
}

// The buckets, with their keys and values and the lengths in bytes. Numbers in keys are big-endian, so that they sort.
const (
	bucketMeta          = "meta"          // "state" → see meta
	bucketSales         = "sales"         // sale (2) → sale
	bucketOrders        = "orders"        // order number (8) → order
	bucketIDs           = "ids"           // ID (8) → order number (8)
	bucketPeople        = "people"        // e-mail (16), sale (2), part (1), mailbox (16) if unconfirmed, order number (8) → kind (1), units (4), person (16)
	bucketAddresses     = "addresses"     // sale (2), address (16), order number (8) → units (4); live orders only
	bucketQueue         = "queue"         // sale (2), queue number (8) → order number (8)
	bucketQueueBlocks   = "queue blocks"  // sale (2), queue number / queueBlockSize (4) → orders in that block of the queue (4)
	bucketBallotEntries = "entries"       // sale (2), ID (8) → order number (8), units (4), won (1)
	bucketTickets       = "tickets"       // sale (2), ticket (32), ID (8) → nothing; during a draw
	bucketTimers        = "timers"        // at (8), order number (8) → nothing: something may be due for the order
	bucketOutbox        = "outbox"        // queue (1), since (8), order number (8) → job kind (1)
	bucketNews          = "news"          // number (8) → at, text
	bucketAudit         = "audit"         // number (8) → at, operator, action
	bucketOperations    = "operations"    // OpID (8) → hash of the command (8), answer
	bucketOperationLog  = "operation log" // number (8) → OpID (8)
	bucketRestore       = "restore"       // see restore.go
)

// Book is the order book. Its methods are safe for concurrent use; those that change it run
// one at a time.
type Book struct {
	dir    string
	commit func(*bbolt.Tx) error // commits a transaction; a test replaces it

	// writing is held by Apply, Restore, Rewrite and Close, and protects the fields that only they use.
	writing sync.Mutex

	// mu protects db from being replaced by Restore or Close during a read.
	mu sync.RWMutex
	db *bbolt.DB // nil after Close

	// Protected by writing.
	meta          meta
	sales         []*storedSale // by number; as in the working copy
	active        []*storedSale // those that are not retired
	byName        map[string]*storedSale
	published     []*Sale // copies of the sales for readModel, by number
	broken        error   // why the book has stopped carrying out commands
	workingCopies int     // number of working copies so far, for their names

	readModel atomic.Pointer[readModel]
}

// meta is the book's own record: its position in the ledger, and its counters.
type meta struct {
	index    uint64 // of the last Apply
	at       int64  // ledger's clock then, Unix milliseconds
	digest   uint64
	orders   uint64 // so far
	news     uint64
	audit    uint64
	ops      uint64
	erasures uint64 // orders whose person is erased
	rules    uint32 // version in force
}

// readModel holds the data that readers get without touching the disk. It never changes.
type readModel struct {
	sales    []*Sale           // by number
	numbers  map[string]uint16 // of the sales, by product
	rules    uint32
	news     []News // newest first
	nextDue  time.Time
	hasDue   bool
	digest   uint64
	erasures uint64
	orders   uint64 // so far

	erasedAt     uint64
	unsentMails  uint64
	waitingForms int64
	receiptKeys  []ReceiptKey
	restoring    *RestoreProgress // nil: none
	restored     [2]time.Time     // see RestoredFrom
}

// Open returns an empty book with its working copy in dir, a folder of its own, which it
// creates if needed. It removes a working copy that an earlier process left there: the state
// comes from the ledger's snapshot and log.
func Open(dir string) (*Book, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("orders: creating the folder of the working copy: %w", err)
	}
	old, err := filepath.Glob(filepath.Join(dir, "book-*.db"))
	if err != nil {
		return nil, fmt.Errorf("orders: looking for old working copies: %w", err)
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			return nil, fmt.Errorf("orders: removing an old working copy: %w", err)
		}
	}
	b := &Book{dir: dir, commit: (*bbolt.Tx).Commit, byName: map[string]*storedSale{}, meta: meta{rules: 1}}
	if b.db, err = b.createWorkingCopy(); err != nil {
		return nil, err
	}
	b.readModel.Store(&readModel{rules: 1})
	return b, nil
}

func (b *Book) nextWorkingCopy() string {
	b.workingCopies++
	return filepath.Join(b.dir, fmt.Sprintf("book-%d.db", b.workingCopies))
}

// openWorkingCopy opens a working copy, and creates it if there is none.
func openWorkingCopy(name string) (*bbolt.DB, error) {
	db, err := bbolt.Open(name, 0o600, &bbolt.Options{
		Timeout: time.Second,
		// The file need not survive the process.
		NoSync: true, NoGrowSync: true, NoFreelistSync: true,
		FreelistType:    bbolt.FreelistArrayType, // few pages are free: fewer instructions than a map
		PageSize:        pageSize,
		InitialMmapSize: initialMapSize(),
	})
	if err != nil {
		return nil, fmt.Errorf("orders: opening the working copy: %w", err)
	}
	return db, nil
}

// createWorkingCopy creates a working copy with empty buckets.
func (b *Book) createWorkingCopy() (*bbolt.DB, error) {
	db, err := openWorkingCopy(b.nextWorkingCopy())
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, form := range buckets {
			if _, err := tx.CreateBucket([]byte(form.name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("orders: creating the working copy: %w", err), db.Close())
	}
	return db, nil
}

// pageSize is the page size of the working copy, in bytes. An order changes a page in each of
// three indexes that are sorted by hash, so nearly every order of a batch decodes, copies and
// writes pages of its own. At 1,024 a batch of 256 orders in a book of 100,000 makes half the
// garbage that it makes at 4,096, for the same CPU time.
const pageSize = 1024

// initialMapSize returns the address space that the working copy maps at the start. When the
// file outgrows it, bbolt maps it again and must wait for all readers, including a snapshot
// in progress. So it is more than a million orders need, where address space costs nothing. A
// 32-bit process has 3 GB of it at most, and two working copies during a Restore. On Windows
// the file itself would become that long.
func initialMapSize() int {
	switch {
	case runtime.GOOS == "windows":
		return 16 << 20
	case strconv.IntSize == 32:
		return 256 << 20
	}
	return 1 << 30
}

// Close closes and removes the working copy. Snapshots must be closed before.
func (b *Book) Close() error {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.db == nil {
		return nil
	}
	b.broken = ErrClosed
	err := discardWorkingCopy(b.db)
	b.db = nil
	return err
}

// discardWorkingCopy closes a working copy, if there is one, and removes its file.
func discardWorkingCopy(db *bbolt.DB) error {
	if db == nil {
		return nil
	}
	name := db.Path()
	if err := errors.Join(db.Close(), os.Remove(name)); err != nil {
		return fmt.Errorf("orders: removing a working copy: %w", err)
	}
	return nil
}

// Digest returns a hash over all answers and all sales' numbers so far: two books with
// different digests after the same Apply have diverged.
func (b *Book) Digest() uint64 { return b.readModel.Load().digest }

// Erasures returns the number of orders whose person is erased, by an Erase or by the
// retention time.
func (b *Book) Erasures() uint64 { return b.readModel.Load().erasures }

// Count returns the number of orders so far.
func (b *Book) Count() uint64 { return b.readModel.Load().orders }

// UnsentMails returns the number of mails that the limit for their address held back until a newer one, or the
// end of their order, made them needless.
func (b *Book) UnsentMails() uint64 { return b.readModel.Load().unsentMails }

// WaitingForms returns the number of forms that wait for their turn to get a mail: see confirmQueue.
func (b *Book) WaitingForms() int64 { return b.readModel.Load().waitingForms }

// Rules returns the version of the rules that the book applies.
func (b *Book) Rules() uint32 { return b.readModel.Load().rules }

const stateKey = "state"

func (m *meta) codeFields(c fieldCodec) {
	c.codeAll(&m.index, &m.at)
	codeValue(c, &m.digest, (*encoder).uint64, (*decoder).uint64)
	c.codeAll(&m.orders, &m.news, &m.audit, &m.ops, &m.erasures)
	if c.form != recordForm1 {
		codeUint(c, &m.rules, uint64(MaxRules))
	}
}

func decodeMeta(data []byte) (meta, error) {
	r := decoder{data: data}
	form := r.byte()
	m := meta{rules: 1}
	m.codeFields(fieldCodec{from: &r, form: form})
	if form < recordForm1 || form > recordForm3 || !r.done() || m.rules < 1 {
		return meta{}, fmt.Errorf("%w: its own record cannot be read", ErrBroken)
	}
	return m, nil
}
