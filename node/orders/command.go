package orders

import (
	"time"

	"bramble/node/orders/draw"
)

// Command is a change of the book. The book refuses one that does not pass Check
// (Malformed).
type Command interface {
	encodeCommand() []byte
	checkFields() error
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
// It is idempotent by its ID, which follows from the form: the same ID, person (by e-mail), kind, quantity,
// name and address is the same order (AlreadyDone). Something else under the ID of the person's order is
// Differs with that order. A person who has another order in the sale, or whose address has reached the
// limit, is answered Differs without one. InAddition means "yes, in addition to what I have".
//
// A PlaceOrder of KindOrder with the ID of an invitation, the same name and address and at most
// as many units as are held, turns the invitation into an order; the other held units
// become free. TooLate: the invitation is over.
//
// Under rules 1 and 2 it is idempotent by content, and accepts an invitation by it.
type PlaceOrder struct {
	ID         ID
	Product    string
	Kind       Kind
	Quantity   int    // 1 to the sale's limit
	Total      int64  // minor units, as the page showed it; checked for every kind
	Currency   string // ISO 4217
	Person     Person
	InAddition bool
	// Unheld: if it has to be confirmed by mail, no units are held until then, because its sender has enough held.
	Unheld bool
	// FromReceipt: it accepts the invitation of its ID on its receipt. A confirmed invitation is accepted only so, because its
	// form may have been a stranger's.
	FromReceipt bool
	// Network is a hash of the sender's network, 0 if it is not known: see confirmQueue. Full: too many of its mails wait.
	Network uint16
}

// Cancel cancels an order: the buyer until it is being fulfilled, an operator also while it
// is. It also ends a waiting-list place or a registration.
type Cancel struct {
	ID ID
	// By is zero for the buyer.
	By     Operation
	Reason string // may be empty; no personal data
}

// Confirm makes an unconfirmed order count: the person has opened the mailed link. OverLimit: the e-mail address has the
// limit. SoldOut: no units were held, and none are free. TooLate: its time is over.
type Confirm struct{ ID ID }

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
	// Invitations is the validity of an automatic invitation. 0 = DefaultInvitation if the sale has
	// a waiting list or is a ballot; InviteByHand = none are sent, and no lost entry gets a free unit. A sale
	// that registers interest invites automatically only if it is given.
	Invitations time.Duration
	Confirm     time.Duration // see Sale; only with Mail
	// Secret is 32 random bytes for a ballot, otherwise zero. Only its commitment is public
	// until the draw.
	Secret     [32]byte
	PublicKind draw.Kind // a ballot's public randomness
	Dice       int       // the number of dice that go with it; 0 = draw.DefaultDice if it is dice
}

const (
	// DefaultInvitation is the validity of an automatic invitation if the offer does not say.
	DefaultInvitation = 48 * time.Hour
	// ConfirmOff is the Confirm of a catalogue's offer that wants no confirmation by mail, where it is the default. No command has it.
	ConfirmOff = -time.Millisecond
	// InviteByHand is an Offer's Invitations if only an operator invites people.
	InviteByHand = -time.Millisecond
)

// Revised says which fields of an offer a ReviseOffer changes.
type Revised uint32

// The fields that can be changed. The others are fixed with the first offer, or have a command of
// their own (Stock, SetTimes).
const (
	RevisePrice Revised = 1 << iota
	ReviseCountries
	ReviseLimit
	ReviseWaitingList
	ReviseInvitations
	ReviseWebhook
	ReviseMail
	ReviseDelay
	ReviseRetain
	reviseEnd
)

// ReviseOffer changes a sale's offer. Orders that were placed keep their price, their tax
// and their jobs. With ReviseWebhook, orders from now on get webhook jobs or none; HandOver is for
// those before. With ReviseRetain, finished orders from before are erased in time too.
type ReviseOffer struct {
	Operation
	Product         string
	Fields          Revised // at least one
	Price           int64
	Countries       []Country
	Limit           int
	WaitingList     bool
	Invitations     time.Duration
	Webhook, Mail   bool
	FulfilmentDelay time.Duration
	Retain          time.Duration
}

// RetireSale hides a closed sale in which nobody waits, is invited or awaits a draw. Its orders and
// receipts stay as they are. A later Offer of the product is answered AlreadyDone; with
// Undo the sale comes back, closed.
type RetireSale struct {
	Operation
	Product string
	Undo    bool
}

// HandOver gives a webhook job to every order of a sale that is not fulfilled and never had one,
// such as the orders from before the shop had a webhook. Ticks do it.
type HandOver struct {
	Operation
	Product string
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
// it is over. A time that is kept is zero here.
type SetTimes struct {
	Operation
	Product               string
	Opens, Closes         time.Time
	KeepOpens, KeepCloses bool // at most one
}

// Announce shows a text on every page from now on. An empty text removes all
// announcements.
type Announce struct {
	Operation
	Text string
}

// Invite invites the next people in the queue, at most Count, while there are free units:
// each person's units are held until Until. A person who wants more units than are free is skipped,
// and keeps the place.
type Invite struct {
	Operation
	Product string
	Count   int // 1 to MaxPerCommand
	Until   time.Time
}

// MakeDraw sets the public randomness that a closed ballot waits for, as promised; Ticks then carry out
// the draw. NotOpen: it is too early for it, see Answer.Opens; zero: the next Tick fixes the list first.
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

// MarkSent marks an order as fulfilled by hand. A second one with another Note changes the note.
type MarkSent struct {
	Operation
	ID   ID
	Note string // such as a tracking number; no personal data; may be empty
}

// ReturnOrder records that a fulfilled order came back.
type ReturnOrder struct {
	Operation
	ID      ID
	Restock bool   // its units can be sold again; otherwise they leave the stock
	Reason  string // may be empty; no personal data
}

// FinishWebhook removes a webhook job other than JobWebhook.
type FinishWebhook struct {
	ID   ID
	Kind JobKind
}

// FinishMail removes a mail job.
type FinishMail struct {
	ID   ID
	Kind JobKind
}

// Erase erases a person: from one order, or, with ID 0, from every order of an e-mail
// address (of exactly this mailbox: see mailboxText; under rules 1 and 2 of every spelling), at most MaxPerCommand at a time (Answer.Remaining counts the rest; send it again with
// a new OpID). An order that is still open is cancelled first.
type Erase struct {
	Operation
	ID    ID
	Email string
}

// Tick carries out what is due by the ledger's clock: sales open and close, draws proceed,
// invitations expire, free units go to the next people, finished orders erase their person. One Tick does a bounded amount
// of work: send another one while Due is not after now.
type Tick struct {
	// Until is the latest time by which something must be due; zero: the ledger's clock. The
	// sender trusts the clock until then. The ledger may apply the Tick after a step of it.
	Until time.Time
	// Boards is the time that most boards' own clocks agree on; zero: they do not, or the sender has not asked. A list is never
	// fixed by an earlier time. With Until only.
	Boards time.Time
}
