package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"bramble/cluster/ledger"
	"bramble/node/orders"
	"bramble/node/orderservice"
)

// Card is the order book of a card that was pulled out of a dead board.
type Card struct {
	book  *orders.Book
	dir   string // of the book's working copy
	index uint64 // last entry of the ledger that was read
	Note  string // describes how complete it is, in a few sentences
}

// ReadCard reads a board's folder of orders ([orders] directory) and changes nothing
// there: it applies the newest good snapshot, and the log after it, to a working copy
// elsewhere. If the board has begun a new life there that has nothing yet, it reads the newest
// files that were set aside. folder may also be one set of those.
func ReadCard(folder string) (*Card, error) {
	dir := filepath.Join(folder, ledgerFolder)
	if ledger.HasFiles(folder) { // a set that was set aside
		return readLedgerFiles(folder)
	}
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() { // the folder of a lab's board has a log file of this name
		return nil, fmt.Errorf("%s is not a board's folder of orders; use the folder that [orders] directory names, in a lab %s", folder, filepath.Join(folder, "ledger"))
	}
	if err != nil {
		return nil, fmt.Errorf("%s is not a board's folder of orders: %w; use the folder that [orders] directory names", folder, err)
	}
	setAside := ledger.SetAside(dir)
	c, err := readLedgerFiles(dir)
	if len(setAside) == 0 {
		return c, err
	}
	if err != nil || c.index == 0 {
		older, failed := readLedgerFiles(setAside[0])
		if failed == nil {
			older.Note = fmt.Sprintf("The board's present files have no orders: read those that were set aside as %s. ", filepath.Base(setAside[0])) + older.Note
			if err == nil {
				c.Close()
			}
			return older, nil
		}
		if err != nil {
			return nil, errors.Join(err, failed)
		}
	}
	c.Note += " Files of before were set aside; to read them, name one of these folders: " + strings.Join(setAside, ", ") + "."
	return c, nil
}

func readLedgerFiles(dir string) (_ *Card, err error) {
	c := new(Card)
	if c.dir, err = os.MkdirTemp("", "bramble-card-"); err != nil {
		return nil, fmt.Errorf("making a working copy: %w", err)
	}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if c.book, err = orders.Open(c.dir); err != nil {
		return nil, err
	}
	found, err := ledger.ReadDir(dir, orderservice.OrderStateMachine{Book: c.book})
	if err != nil {
		return nil, err
	}
	c.index = found.Index
	c.Note = fmt.Sprintf("Read up to entry %d of the ledger.", found.Index)
	if found.Unproven > 0 {
		c.Note += fmt.Sprintf(" Nothing there proves that a client got an acknowledgement of the last %d changes.", found.Unproven)
	}
	if found.Damage != "" {
		c.Note += " The rest is damaged: " + found.Damage + "."
	}
	return c, nil
}

const cardPage = 500

// Each calls visit for every order, oldest first, and stops at the first error.
func (c *Card) Each(visit func(orderservice.OrderJSON) error) error {
	for after := uint64(0); ; {
		page, next, err := c.book.Orders(orders.Filter{}, after, cardPage)
		if err != nil {
			return err
		}
		for _, o := range page {
			if err := visit(orderservice.NewOrderJSON(o)); err != nil {
				return err
			}
		}
		if next == 0 {
			return nil
		}
		after = next
	}
}

// Close removes the working copy.
func (c *Card) Close() {
	if c.book != nil {
		c.book.Close()
	}
	os.RemoveAll(c.dir)
}
