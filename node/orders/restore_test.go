package orders

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// restoreCommands returns the commands that restore a snapshot.
func restoreCommands(d *testBook, snapshot []byte, size int) []Command {
	by := d.by()
	by.OpID += 1_000_000 // the restored book knows the other book's numbers
	list := []Command{nil}
	for n := 0; len(snapshot) > 0; n++ {
		part := snapshot[:min(len(snapshot), size)]
		list = append(list, AddRestoreChunk{by.OpID, n, part})
		snapshot = snapshot[len(part):]
	}
	begin := BeginRestore{Operation: by, Chunks: len(list) - 1, ReceiptKeys: [][32]byte{{1}, {2}}}
	h := sha256.New()
	for _, c := range list[1:] {
		h.Write(c.(AddRestoreChunk).Data)
	}
	copy(begin.Sum[:], h.Sum(nil))
	list[0] = begin
	return append(list, FinishRestore{by})
}

// newShopBook returns a book as a rack with a catalogue has it before the first order.
func newShopBook(t testing.TB) *testBook {
	d := newTestBook(t)
	o := d.someOffer()
	o.Operator = CatalogueOperator
	d.want(Done, o)
	o = d.someOffer()
	o.Product, o.Operator = "unknown-to-the-backup", CatalogueOperator
	d.want(Done, o)
	return d
}

func TestRestoreThroughTheLedger(t *testing.T) {
	source := newBusyBook(t)
	snapshot := dump(t, source.book)
	one, two := newShopBook(t), newShopBook(t)
	for _, d := range []*testBook{one, two} { // what leaves the book empty
		d.want(Done, SetClock{d.by(), d.now, d.now.Add(time.Minute)})
		d.want(NotClosed, RetireSale{Operation: d.by(), Product: "unknown-to-the-backup"})
	}
	commands := restoreCommands(one, snapshot, 1000)
	for n, c := range commands {
		if n == len(commands)/2 { // the second book's board restarts from a snapshot in the middle
			copied := dump(t, two.book)
			two.book = openBook(t)
			if err := two.book.Restore(bytes.NewReader(copied)); err != nil {
				t.Fatal(err)
			}
			for _, d := range []*testBook{one, two} {
				d.want(Restoring, d.newOrder(1, KindOrder))
				d.want(Restoring, Announce{d.by(), "soon"})
				d.want(Restoring, Stock{d.by(), "pi", 1})
				if p := d.book.RestoreInProgress(); p == nil || p.Parts != n-1 || p.All != len(commands)-2 || p.Operator == "" || !p.Until.After(d.now) {
					t.Errorf("in progress after %d parts of %d: %+v", n-1, len(commands)-2, p)
				}
			}
		}
		a := one.want(Done, c)
		if b := two.want(Done, c); a != b {
			t.Fatalf("%T: %+v and %+v", c, a, b)
		}
	}
	for _, d := range []*testBook{one, two} {
		if p := d.book.RestoreInProgress(); p != nil {
			t.Errorf("still in progress: %+v", p)
		}
		for _, c := range []Command{commands[0], commands[len(commands)-1]} {
			d.want(AlreadyDone, c)
		}
		d.recount()
		if keys := d.book.ReceiptKeys(); len(keys) != 2 || keys[1].Key[0] != 2 {
			t.Fatalf("%d keys", len(keys))
		}
		// It goes on where the source does, limits and queues included.
		d.now, d.id = source.now, source.id
		d.op = source.op + 2_000_000
		after(d)
	}
	if one.book.Digest() != two.book.Digest() || !bytes.Equal(dump(t, one.book), dump(t, two.book)) {
		t.Fatal("the restored books diverged")
	}
	after(source)
	for n := range 40 {
		id := ID(n*3+1) * 7919
		want, err := source.book.Order(id)
		got, gotErr := one.book.Order(id)
		if err != nil || gotErr != nil || got != want {
			t.Fatalf("order %d: %+v, %v; want %+v, %v", n, got, gotErr, want, err)
		}
		place, of, _ := source.book.Position(id)
		if p, o, _ := one.book.Position(id); p != place || o != of {
			t.Fatalf("place %d of %d, want %d of %d", p, o, place, of)
		}
	}
	// A backup of the restored book has the keys of both.
	three := newShopBook(t)
	for _, c := range restoreCommands(three, dump(t, one.book), MaxRestoreChunk) {
		three.want(Done, c)
	}
	if keys := three.book.ReceiptKeys(); len(keys) != 2 {
		t.Fatalf("%d keys", len(keys))
	}
}

// A restored book knows the time of its backup, after which it lacks erasures, until the first one that follows; also in a snapshot, and
// in a backup of its own it is the later one.
func TestARestoredBookKnowsItsBackup(t *testing.T) {
	source := newBusyBook(t)
	made, p, err := source.book.OpenBackup()
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
	d := newShopBook(t)
	d.now = source.now.Add(time.Hour)
	check := func(b *Book, from, at time.Time) {
		t.Helper()
		if gotFrom, gotAt := b.RestoredFrom(); !gotFrom.Equal(from) || !gotAt.Equal(at) {
			t.Errorf("restored from %v at %v, want %v at %v", gotFrom, gotAt, from, at)
		}
	}
	check(source.book, time.Time{}, time.Time{})
	for _, c := range restoreCommands(d, dump(t, source.book), MaxRestoreChunk) {
		d.want(Done, c)
	}
	check(d.book, p.At, d.now)
	copied := openBook(t)
	if err := copied.Restore(bytes.NewReader(dump(t, d.book))); err != nil {
		t.Fatal(err)
	}
	check(copied, p.At, d.now)

	third := newShopBook(t)
	third.now = d.now.Add(24 * time.Hour)
	for _, c := range restoreCommands(third, dump(t, d.book), MaxRestoreChunk) {
		third.want(Done, c)
	}
	check(third.book, d.now, third.now)
	d.op += 2_000_000                                                   // the restored book knows the source's numbers
	d.want(Done, Erase{Operation: d.by(), Email: "nobody@example.org"}) // mistyped
	check(d.book, p.At, d.now)
	d.want(Done, Erase{Operation: d.by(), Email: "person1@example.org"})
	check(d.book, time.Time{}, time.Time{})
	d.recount()
}

func TestRestoreIsRefused(t *testing.T) {
	good := dump(t, newBusyBook(t).book)
	bad := bytes.Clone(good)
	bad[len(bad)/2] ^= 1
	d := newShopBook(t)
	start := func() (*testBook, []Command) {
		if err := d.book.Close(); err != nil { // of the case before
			t.Fatal(err)
		}
		d := newShopBook(t)
		return d, restoreCommands(d, good, 4000)
	}

	d, c := start()
	d.want(Placed, d.newOrder(1, KindOrder))
	d.want(TooLate, c[0])

	d, c = start()
	d.want(Done, Stock{d.by(), "pi", 1})
	d.want(TooLate, c[0])

	d, c = start()
	for _, one := range c[:len(c)-1] {
		d.want(Done, one)
	}
	d.want(Restoring, Announce{d.by(), "We are open."}) // an act in the middle
	d.now = d.now.Add(restoreTimeout + time.Second)
	d.want(Done, Announce{d.by(), "We are open."}) // the restore was abandoned
	d.want(NoOrder, c[len(c)-1])
	d.want(TooLate, c[0])
	d.recount()

	d, c = start()
	for _, one := range c[:len(c)-2] {
		d.want(Done, one)
	}
	if a := d.want(NotEnough, c[len(c)-1]); a.Remaining != 1 {
		t.Errorf("%+v", a)
	}
	d.want(Done, CancelRestore{d.by()})
	d.want(AlreadyDone, CancelRestore{d.by()})
	d.want(NoOrder, c[len(c)-1])
	d.want(Placed, d.newOrder(1, KindOrder))

	for name, change := range map[string]func(c []Command){
		"not a snapshot":     func(c []Command) { copy(c, restoreCommands(d, bad, 4000)) },
		"another sum":        func(c []Command) { b := c[0].(BeginRestore); b.Sum[3]++; c[0] = b },
		"a snapshot's bytes": func(c []Command) { a := c[2].(AddRestoreChunk); a.Data = bytes.Clone(a.Data); a.Data[9] ^= 4; c[2] = a },
	} {
		d, c = start()
		op := c[0].(BeginRestore).Operation
		change(c)
		for n, one := range c {
			switch one := one.(type) {
			case BeginRestore:
				one.Operation = op
				c[n] = one
			case AddRestoreChunk:
				one.OpID = op.OpID
				c[n] = one
			case FinishRestore:
				c[n] = FinishRestore{op}
			}
		}
		for _, one := range c[:len(c)-1] {
			d.want(Done, one)
		}
		if a := d.do(c[len(c)-1]); a.Outcome != Malformed {
			t.Errorf("%s: %v", name, a.Outcome)
		}
		d.want(Placed, d.newOrder(1, KindOrder))
		if files, _ := filepath.Glob(filepath.Join(d.book.dir, "*")); len(files) != 1 {
			t.Errorf("%s: working copies are left over: %v", name, files)
		}
	}

	d, c = start()
	d.want(Done, c[0])
	d.want(Restoring, d.newOrder(1, KindOrder))
	d.now = d.now.Add(restoreTimeout + time.Second)
	d.want(Placed, d.newOrder(2, KindOrder)) // the restore was abandoned
	d.want(NoOrder, c[1])
}

// Under the rules before, the commands are unknown ones, as they were to that program.
func TestRestoreNeedsItsRules(t *testing.T) {
	d := newTestBook(t)
	d.rules = 1
	for _, c := range restoreCommands(d, dump(t, newBusyBook(t).book), 4000) {
		d.want(Malformed, c)
	}
}

// A disk that is full when the book is replaced changes nothing, and the same batch, with
// commands before and after the replacement, is applied once there is room.
func TestRestoreOnAFullDisk(t *testing.T) {
	source := newBusyBook(t)
	d, twin := newShopBook(t), newShopBook(t)
	commands := restoreCommands(d, dump(t, source.book), 4000)
	for _, c := range commands[:len(commands)-1] {
		d.want(Done, c)
		twin.want(Done, c)
	}
	d.id = source.id
	order := Encode(d.newOrder(1000, KindWaiting))
	batch := [][]byte{Encode(Tick{}), Encode(commands[len(commands)-1]), order}
	before := dump(t, d.book)
	room := d.book.commit
	d.book.commit = func(tx *bbolt.Tx) error { return errors.Join(syscall.ENOSPC, tx.Rollback()) }
	for range 2 {
		if _, err := d.book.Apply(d.index+1, d.now, MaxRules, batch); !errors.Is(err, ErrDisk) {
			t.Fatalf("%v", err)
		}
		if !bytes.Equal(before, dump(t, d.book)) || len(d.book.ReceiptKeys()) != 0 {
			t.Fatal("a trace is left")
		}
	}
	d.book.commit = room
	for _, b := range []*testBook{d, twin} {
		replies, err := b.book.Apply(b.index+1, b.now, MaxRules, batch)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := DecodeAnswer(replies[2]); err != nil || a.Outcome != Placed {
			t.Fatalf("the order after the replacement: %+v, %v", a, err)
		}
		b.recount()
		if files, _ := filepath.Glob(filepath.Join(b.book.dir, "*")); len(files) != 1 {
			t.Errorf("working copies are left over: %v", files)
		}
	}
	if d.book.Digest() != twin.book.Digest() {
		t.Fatal("the books diverged")
	}
}

func TestOpenBackup(t *testing.T) {
	d := newBusyBook(t)
	s, p, err := d.book.OpenBackup()
	if err != nil {
		t.Fatal(err)
	}
	digest, index := d.book.Digest(), d.index
	after(d) // later changes do not count
	if p.Digest != digest || p.Index != index || p.Orders != 120 || len(p.Products) != 3 || p.Products[1] != "pi-b" {
		t.Errorf("%+v", p)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
