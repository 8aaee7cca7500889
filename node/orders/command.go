package orders

import (
	"time"

	"bramble/node/orders/draw"
)

// Command is something that the book carries out. Encode gives its bytes for the ledger,
// DecodeCommand reads them back. Check says what is wrong with the fields in words for
// whoever wrote the caller; the book refuses a command that does not pass (Malformed).
type Command interface {
	Encode() []byte
	Check() error
}

// Operation is who changes something, and a random number for the change, made by whoever
// asks for it: the same OpID again gets the first answer again and changes nothing. The
// book remembers the last MaxOps of them.
type Operation struct {
	Operator string // 1 to MaxWho bytes
	OpID     uint64 // not 0
}

// PlaceOrder is a filled-in form: it places an order, an entry, a registration or a place on the
// waiting list, by its Kind. The answer's outcome is one of those of an Ask.
//
// It is idempotent by content: the same person (by e-mail), product, kind, quantity, name
// and address is answered Same with the paper there is. More says "yes, in addition to
// what I have" after Differs: then only the same ID is the same. So the page that asks the
// question must carry the new paper's ID in its form: the button pressed twice, a reload
// and a retry on another board are then one paper.
//
// An Ask of KindOrder by an invited person, with the same name and address and at most as
// many units as are held, turns the invitation into an order; units left over go back.
type PlaceOrder struct {
	ID       ID
	Product  string
	Kind     Kind
	Quantity int    // 1 to the sale's limit
	Total    int64  // minor units, as the page showed it; checked for every kind
	Currency string // ISO 4217
	Person   Person
	More     bool
}

// Cancel takes a paper back: the buyer until it is handed over, an operator also while it
// is being handed over. A waiting or interest paper is left by it.
type Cancel struct {
	ID ID
	// By is zero for the buyer.
	By     Operation
	Reason string // may be empty; no personal data
}

// Offer makes a product's sale. Only the first one counts: later ones are answered Same,
// whatever they say, so that every board may send what its catalogue has.
type Offer struct {
	Operation
	Product         string
	Mode            Mode
	Stock           int64
	Limit           int
	LimitByAddress  bool
	Opens, Closes   time.Time // whole milliseconds; zero = from the start, never. A ballot has both
	WaitingList     bool
	Price           int64 // of a unit, minor units
	Currency        string
	Countries       []Country
	Webhook         bool          // orders get a webhook job
	FulfilmentDelay time.Duration // from taken to due for hand-over: time to cancel
	Mail            bool          // papers get mail jobs
	Retain          time.Duration // see Sale
	// Secret is 32 random bytes for a ballot, of which only the commitment is shown until
	// the draw; otherwise zero.
	Secret     [32]byte
	PublicKind draw.Kind // a ballot's public randomness
}

// Stock adds units to a sale, or takes free ones away.
type Stock struct {
	Operation
	Product string
	Delta   int64 // not 0
}

// OpenSale opens a sale now: it takes back a CloseSale, an opening still to come and a
// closing already passed. A ballot cannot be opened again.
type OpenSale struct {
	Operation
	Product string
}

// CloseSale closes a sale now. A ballot goes to its draw.
type CloseSale struct {
	Operation
	Product string
}

// SetTimes moves the hours of a sale. Those of a ballot stand once it is over.
type SetTimes struct {
	Operation
	Product       string
	Opens, Closes time.Time
}

// Announce has a sentence shown on every page from now on. An empty text takes the
// announcements off.
type Announce struct {
	Operation
	Text string
}

// Invite invites the next people in the queue, at most Count, as far as the free units
// go: each one's units are held until Until. Somebody who wants more units than are left
// is not passed over.
type Invite struct {
	Operation
	Product string
	Count   int // 1 to MaxWave
	Until   time.Time
}

// MakeDraw gives a closed ballot the public randomness it waits for; Ticks then carry the
// draw out.
type MakeDraw struct {
	Operation
	Product string
	Public  draw.Public
}

// BeginFulfilment marks an order or a winning entry as on its way to the fulfiller. It is
// committed before the first try, so that the buyer cannot cancel what is on its way.
type BeginFulfilment struct{ ID ID }

// FinishFulfilment ends the hand-over and removes the webhook job.
type FinishFulfilment struct {
	ID  ID
	How string // such as "webhook"
}

// FinishMail removes a mail job.
type FinishMail struct {
	ID   ID
	Kind JobKind
}

// Forget erases a person: from one paper, or, with ID 0, from every paper of an e-mail
// address, at most MaxWave at a time (Answer.Left tells how many are left; ask again
// with a new OpID). A paper that is still open is cancelled first.
type Forget struct {
	Operation
	ID    ID
	Email string
}

// Tick carries out what is due by the ledger's clock: sales open and close, draws are
// made, invitations expire, old papers forget their person. One Tick does a bounded
// amount of work: send another one as long as Due is not after now.
type Tick struct{}
