package orders

import (
	"time"

	"bramble/node/orders/draw"
)

// Command is a change of the book. Encode returns its bytes for the ledger, and
// DecodeCommand reads them. Check returns the first problem of the fields, for a
// programmer; the book refuses a command that does not pass it (Malformed).
type Command interface {
	Encode() []byte
	Check() error
}

// Operation makes an operator's command idempotent. OpID is its idempotency key, a random
// number that the client draws: a second command with the same OpID gets the first answer
// and changes nothing. The book remembers the last MaxOperations of them.
type Operation struct {
	Operator string // 1 to MaxOperator bytes
	OpID     uint64 // not 0
}

// PlaceOrder is a submitted form: by its Kind it places an order, enters a ballot, registers
// interest or joins a waiting list. Its outcomes are those from Placed to Malformed.
//
// It is idempotent by content: if the person (by e-mail) has an order of the same product,
// kind, quantity, name and address, the answer is AlreadyDone with that order. InAddition means "yes, in
// addition to what I have", after Differs; then only the same ID is the same order. So the
// page that asks the person must carry the new order's ID in its form: pressing the button
// twice, a reload and a retry on another board are then one order.
//
// A PlaceOrder of KindOrder by an invited person, with the same name and address and at most
// as many units as are held, turns the invitation into an order; the other held units
// become free.
type PlaceOrder struct {
	ID         ID
	Product    string
	Kind       Kind
	Quantity   int    // 1 to the sale's limit
	Total      int64  // minor units, as the page showed it; checked for every kind
	Currency   string // ISO 4217
	Person     Person
	InAddition bool
}

// Cancel cancels an order: the buyer until it is being fulfilled, an operator also while it
// is. It also ends a waiting-list place or a registration.
type Cancel struct {
	ID ID
	// By is zero for the buyer.
	By     Operation
	Reason string // may be empty; no personal data
}

// Offer creates a product's sale. Only the first offer counts: later ones are answered
// AlreadyDone, even if they differ, so every board may submit its catalogue's products.
type Offer struct {
	Operation
	Product         string
	Mode            Mode
	Stock           int64
	Limit           int
	LimitByAddress  bool
	Opens, Closes   time.Time // whole milliseconds; zero = from the start, never. A ballot needs both
	WaitingList     bool
	Price           int64 // of a unit, minor units
	Currency        string
	Countries       []Country
	Webhook         bool          // orders get a webhook job
	FulfilmentDelay time.Duration // from placed to due for fulfilment: the time to cancel
	Mail            bool          // orders get mail jobs
	Retain          time.Duration // see Sale
	// Secret is 32 random bytes for a ballot, otherwise zero. Only its commitment is public
	// until the draw.
	Secret     [32]byte
	PublicKind draw.Kind // a ballot's public randomness
}

// Stock adds units to a sale, or removes free ones.
type Stock struct {
	Operation
	Product string
	Delta   int64 // not 0
}

// OpenSale opens a sale now: it undoes a CloseSale, an opening time still to come and a
// closing time already passed. A ballot cannot be opened again.
type OpenSale struct {
	Operation
	Product string
}

// CloseSale closes a sale now. A ballot goes to its draw.
type CloseSale struct {
	Operation
	Product string
}

// SetTimes changes the opening and closing times of a sale. Those of a ballot are fixed once
// it is over.
type SetTimes struct {
	Operation
	Product       string
	Opens, Closes time.Time
}

// Announce shows a text on every page from now on. An empty text removes all
// announcements.
type Announce struct {
	Operation
	Text string
}

// Invite invites the next people in the queue, at most Count, while there are free units:
// each person's units are held until Until. A person who wants more units than are free is
// not skipped; the invitations end there.
type Invite struct {
	Operation
	Product string
	Count   int // 1 to MaxPerCommand
	Until   time.Time
}

// MakeDraw sets the public randomness that a closed ballot waits for; Ticks then carry out
// the draw.
type MakeDraw struct {
	Operation
	Product string
	Public  draw.Public
}

// BeginFulfilment marks an order or a winning entry as being passed to the fulfiller. It is
// committed before the first attempt, so that the buyer cannot cancel an order in progress.
type BeginFulfilment struct{ ID ID }

// FinishFulfilment marks an order as fulfilled and removes the webhook job.
type FinishFulfilment struct {
	ID  ID
	How string // such as "webhook"
}

// FinishMail removes a mail job.
type FinishMail struct {
	ID   ID
	Kind JobKind
}

// Erase erases a person: from one order, or, with ID 0, from every order of an e-mail
// address, at most MaxPerCommand at a time (Answer.Remaining counts the rest; send it again with
// a new OpID). An order that is still open is cancelled first.
type Erase struct {
	Operation
	ID    ID
	Email string
}

// Tick carries out what is due by the ledger's clock: sales open and close, draws proceed,
// invitations expire, finished orders erase their person. One Tick does a bounded amount
// of work: send another one while Due is not after now.
type Tick struct{}
