package orders

import (
	"encoding/binary"
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

// The buckets of the working copy, and their keys and values. Numbers in keys are
// big-endian, so that they sort.
var buckets = []string{
	bucketMeta, bucketSales, bucketOrders, bucketIDs, bucketPeople, bucketAddresses, bucketQueue,
	bucketQueueBlocks, bucketEntries, bucketTickets, bucketTimers, bucketOutbox, bucketNews, bucketAudit,
	bucketOperations, bucketOperationLog,
}

const (
	bucketMeta         = "meta"      // "state" → see meta
	bucketSales        = "sales"     // sale (2) → sale
	bucketOrders       = "papers"    // paper number (8) → paper
	bucketIDs          = "ids"       // ID (8) → paper number (8)
	bucketPeople       = "people"    // e-mail (16), sale (2), dead (1), paper number (8) → kind (1), units (4), person (16)
	bucketAddresses    = "addresses" // sale (2), address (16), paper number (8) → units (4); live papers only
	bucketQueue        = "queue"     // sale (2), place (8) → paper number (8)
	bucketQueueBlocks  = "blocks"    // sale (2), place / blockSize (4) → papers in that block of the queue (4)
	bucketEntries      = "pot"       // sale (2), ID (8) → paper number (8), units (4), won (1)
	bucketTickets      = "tickets"   // sale (2), ticket (32), ID (8) → nothing; while a draw is made
	bucketTimers       = "timers"    // at (8), paper number (8) → nothing: something may be due for that paper
	bucketOutbox       = "outbox"    // queue (1), since (8), paper number (8) → what (1)
	bucketNews         = "news"      // number (8) → at, text
	bucketAudit        = "audit"     // number (8) → at, who, what
	bucketOperations   = "ops"       // OpID (8) → hash of the command (8), answer
	bucketOperationLog = "op order"  // number (8) → OpID (8)
)

// Book is the order book. Its methods are safe beside each other; those that change it
// take turns.
type Book struct {
	dir    string
	commit func(*bbolt.Tx) error // ends a transaction; a test has it fail

	// writing is held by Apply, Restore, Rewrite and Close, and guards what only they touch.
	writing sync.Mutex

	// mu guards db against being swapped by Restore or Close while something reads.
	mu sync.RWMutex
	db *bbolt.DB // nil after Close

	// These are guarded by writing.
	meta          meta
	sales         []*storedSale // by number; as in the working copy
	byName        map[string]*storedSale
	broken        error // why no command is taken any more
	workingCopies int   // working copies made, for their names

	readModel atomic.Pointer[readModel]
}

// meta is what the book knows about itself.
type meta struct {
	index    uint64 // of the last Apply
	at       int64  // ledger's clock then, Unix milliseconds
	digest   uint64
	orders   uint64 // made so far
	news     uint64
	audit    uint64
	ops      uint64
	erasures uint64 // papers that have forgotten their person
}

// readModel is what readers get without touching the disk. It does not change.
type readModel struct {
	sales    []Sale
	news     []News // newest first
	nextDue  time.Time
	hasDue   bool
	digest   uint64
	erasures uint64
}

// Open makes an empty book with its working copy in a folder of its own, which is made
// if need be. A working copy that an earlier process left there is removed: the state
// comes from the ledger's snapshot and log.
func Open(dir string) (*Book, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("orders: making the folder of the working copy: %w", err)
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
	b := &Book{dir: dir, commit: (*bbolt.Tx).Commit, byName: map[string]*storedSale{}}
	if b.db, err = b.createWorkingCopy(); err != nil {
		return nil, err
	}
	b.readModel.Store(&readModel{})
	return b, nil
}

// createWorkingCopy makes a new working copy with empty buckets.
func (b *Book) createWorkingCopy() (*bbolt.DB, error) {
	b.workingCopies++
	name := filepath.Join(b.dir, fmt.Sprintf("book-%d.db", b.workingCopies))
	db, err := bbolt.Open(name, 0o600, &bbolt.Options{
		Timeout: time.Second,
		// Nothing of the file has to survive the process.
		NoSync: true, NoGrowSync: true, NoFreelistSync: true,
		FreelistType:    bbolt.FreelistMapType,
		PageSize:        pageSize,
		InitialMmapSize: initialMapSize(),
	})
	if err != nil {
		return nil, fmt.Errorf("orders: making the working copy: %w", err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("orders: making the working copy: %w", err), db.Close())
	}
	return db, nil
}

// pageSize is that of the working copy, in bytes. An order touches a page in each of three
// indexes sorted by hashes, so nearly every order of a batch touches pages of its own, and
// each is decoded, copied and written. At 1,024 a batch of 256 orders in a book of 100,000
// makes half the garbage that it makes at 4,096, for the same CPU.
const pageSize = 1024

// initialMapSize is how much address space the working copy is given at once. When the file
// outgrows it, bbolt maps it anew and must wait for all readers, a snapshot under way
// among them; so it is more than a million papers need, where address space is free. A
// 32-bit process has 3 GB of it at most, and two working copies while one is restored. On
// Windows the file would be made that long.
func initialMapSize() int {
	switch {
	case runtime.GOOS == "windows":
		return 16 << 20
	case strconv.IntSize == 32:
		return 256 << 20
	}
	return 1 << 30
}

// Close closes the working copy and removes it. Snapshots must be closed before.
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

// discardWorkingCopy closes a working copy and removes its file.
func discardWorkingCopy(db *bbolt.DB) error {
	name := db.Path()
	if err := errors.Join(db.Close(), os.Remove(name)); err != nil {
		return fmt.Errorf("orders: removing a working copy: %w", err)
	}
	return nil
}

// Digest is a hash over all answers and all sales' numbers so far: two books with
// different digests after the same Apply have diverged.
func (b *Book) Digest() uint64 { return b.readModel.Load().digest }

// Erasures is how many papers have forgotten their person so far, by a Forget or by the
// retention time. Where it has grown, the ledger's log still has somebody that the book
// has not: compact it, and Rewrite the working copy.
func (b *Book) Erasures() uint64 { return b.readModel.Load().erasures }

const stateKey = "state"

func (m *meta) encode() []byte {
	w := encoder{data: make([]byte, 0, 64)}
	w.byte(recordForm)
	w.uint(m.index)
	w.int(m.at)
	w.data = binary.BigEndian.AppendUint64(w.data, m.digest)
	w.uint(m.orders)
	w.uint(m.news)
	w.uint(m.audit)
	w.uint(m.ops)
	w.uint(m.erasures)
	return w.data
}

func decodeMeta(data []byte) (meta, error) {
	r := decoder{data: data}
	form := r.byte()
	m := meta{index: r.uint(), at: r.int()}
	if len(r.data) >= 8 {
		m.digest = binary.BigEndian.Uint64(r.data)
		r.data = r.data[8:]
	} else {
		r.fail()
	}
	m.orders, m.news, m.audit, m.ops, m.erasures = r.uint(), r.uint(), r.uint(), r.uint(), r.uint()
	if form != recordForm || !r.done() {
		return meta{}, fmt.Errorf("%w: its own record cannot be read", ErrBroken)
	}
	return m, nil
}
