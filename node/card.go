package node

import (
	"fmt"
	"os"
	"path/filepath"

	"bramble/cluster/ledger"
	"bramble/node/orders"
	"bramble/node/orderservice"
)

// Card is the order book of a card that was pulled out of a dead board.
type Card struct {
	book *orders.Book
	dir  string // of the book's working copy
	// Note describes how complete it is, in a few sentences.
	Note string
}

// ReadCard reads a board's folder of orders ([orders] directory) and changes nothing
// there: it applies the newest good snapshot, and the log after it, to a working copy
// elsewhere.
func ReadCard(folder string) (_ *Card, err error) {
	info, err := os.Stat(filepath.Join(folder, ledgerFolder))
	if err == nil && !info.IsDir() { // the folder of a lab's board has a log file of this name
		return nil, fmt.Errorf("%s is not a board's folder of orders; use the folder that [orders] directory names, in a lab %s", folder, filepath.Join(folder, "ledger"))
	}
	if err != nil {
		return nil, fmt.Errorf("%s is not a board's folder of orders: %w; use the folder that [orders] directory names", folder, err)
	}
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
	found, err := ledger.ReadDir(filepath.Join(folder, ledgerFolder), orderservice.OrderStateMachine{Book: c.book})
	if err != nil {
		return nil, err
	}
	c.Note = fmt.Sprintf("Read up to entry %d of the ledger.", found.Index)
	if found.Unproven > 0 {
		c.Note += fmt.Sprintf(" Nothing there proves that a client got an acknowledgement of the last %d changes.", found.Unproven)
	}
	if found.Damage != "" {
		c.Note += " The rest is damaged: " + found.Damage + "."
	}
	return c, nil
}

// cardPage is the number of orders that are read at a time.
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
