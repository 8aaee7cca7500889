package node

import (
	"fmt"
	"os"
	"path/filepath"

	"bramble/cluster/ledger"
	"bramble/node/orders"
	"bramble/node/orderservice"
)

// Card is what was found on a card that was pulled out of a dead board.
type Card struct {
	book *orders.Book
	dir  string // of the book's working copy
	// Note says in a sentence how far it can be believed.
	Note string
}

// ReadCard reads a board's folder of orders ([orders] directory) and changes
// nothing there: the newest good snapshot and the log after it are carried out
// in a working copy elsewhere.
func ReadCard(folder string) (_ *Card, err error) {
	if _, err := os.Stat(filepath.Join(folder, ledgerFolder)); err != nil {
		return nil, fmt.Errorf("%s is no board's folder of orders: %w; it is the one named under [orders] directory", folder, err)
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
	found, err := ledger.ReadDir(filepath.Join(folder, ledgerFolder), c.book)
	if err != nil {
		return nil, err
	}
	c.Note = fmt.Sprintf("Read up to entry %d of the ledger.", found.Index)
	if found.Unproven > 0 {
		c.Note += fmt.Sprintf(" Nothing there proves that the last %d changes were acknowledged to anybody.", found.Unproven)
	}
	if found.Damage != "" {
		c.Note += " What follows is damaged: " + found.Damage + "."
	}
	return c, nil
}

// cardPage is how many papers are read at a time.
const cardPage = 500

// Each gives every paper in the order of arrival to each, until that fails.
func (c *Card) Each(each func(orderservice.OrderJSON) error) error {
	for after := uint64(0); ; {
		page, next, err := c.book.Orders(orders.Filter{}, after, cardPage)
		if err != nil {
			return err
		}
		for _, p := range page {
			if err := each(orderservice.NewOrderJSON(p)); err != nil {
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
