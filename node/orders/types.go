package orders

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"bramble/node/orders/draw"
)

// Limits. Those on text are in bytes.
const (
	MaxSales      = 4096        // products in the book, retired ones too; the shop's catalogue has at most 12
	MaxProduct    = 40          // a product's slug
	MaxStock      = 100_000_000 // units of one product
	MaxLimit      = 1000        // units that one person may have, and so the largest quantity of an order
	MaxAmount     = 100_000_000_000
	MaxCountries  = 60
	MaxName       = 160
	MaxEmail      = 254 // RFC 5321 allows 256 with the angle brackets
	MaxLine       = 160
	MaxCity       = 100
	MaxPostcode   = 20
	MaxOperator   = 80  // an operator's name
	MaxText       = 240 // an announcement, a reason, a note
	MaxCommand    = 16 << 10
	MaxNews       = 20      // announcements; the oldest are dropped
	MaxOperations = 4096    // operator commands remembered by OpID
	MaxAudit      = 200_000 // entries of the audit trail; the oldest are dropped
	MaxPerCommand = 1000    // people invited, or orders erased, by one command
	MaxPage       = 1000    // entries that one call of a reading method returns
)

// Errors of the reading methods and of Apply, matched with errors.Is.
var (
	ErrNoOrder   = errors.New("orders: there is no such order")
	ErrNoSale    = errors.New("orders: there is no such sale")
	ErrNoDraw    = errors.New("orders: nothing has been drawn")
	ErrNotQueued = errors.New("orders: the order is not waiting in a queue")
	// ErrBroken: the book contradicts itself. It carries out no command any more.
	ErrBroken = errors.New("orders: the order book contradicts itself and has stopped")
	// ErrDisk: the working copy cannot be written, as on a full disk. Nothing has changed;
	// the same entry can be applied again.
	ErrDisk = errors.New("the order book cannot write its working copy, most often because the card is full")
	// ErrCommand: the bytes are not a command, or not one that this version knows.
	ErrCommand = errors.New("orders: not a command")
	// ErrAnswer: the bytes are not an answer.
	ErrAnswer = errors.New("orders: not an answer")
	// ErrSnapshot: the bytes are not a snapshot that this version can read.
	ErrSnapshot = errors.New("orders: not a snapshot of an order book")
	// ErrNewerSnapshot is an ErrSnapshot: a newer program wrote it.
	ErrNewerSnapshot = fmt.Errorf("%w that this program knows: a newer one wrote it", ErrSnapshot)
	// ErrClosed: the book is closed.
	ErrClosed = errors.New("orders: the order book is closed")
)

// Errors of submitting a command to the ledger, matched with errors.Is.
var (
	// ErrNotCommitted: the command was not committed and never will be. It can be sent again.
	ErrNotCommitted = errors.New("orders: the command was not committed")
	// ErrUncertain: the command may have been committed, or may be later. It can be sent
	// again, because the order book carries out the same command once.
	ErrUncertain = errors.New("orders: it is not known whether the command was committed")
	// ErrUnavailable: this board can submit no command, because the rack has no ledger yet or
	// has two, or because its own has halted. It was not committed.
	ErrUnavailable = errors.New("this rack does not take orders yet")
	// ErrBoardUnfit is an ErrUnavailable of this board alone: to send the command again to
	// it does not help, but the other boards of the rack accept orders.
	ErrBoardUnfit = fmt.Errorf("%w: this board accepts no orders, but others of the rack do", ErrUnavailable)
	// ErrStale: this board returns its own copy, and could not find out whether there is a
	// newer state.
	ErrStale = errors.New("orders: this may have changed since")
	// ErrTooLate: the order cannot be cancelled any more.
	ErrTooLate = errors.New("orders: it is too late to cancel this")
)

// Kind is the kind of an order, which the person chose. A waiting-list place or a
// registration whose invitation is accepted becomes KindOrder; a ballot entry stays
// KindEntry, even if it wins.
type Kind uint8

// The kinds of order.
const (
	KindOrder    Kind = 1 // units at once
	KindEntry    Kind = 2 // an entry in a ballot
	KindInterest Kind = 3 // a registration of interest, in a sale that only registers
	KindWaiting  Kind = 4 // a place on the waiting list of a sale that is sold out or drawn
)

// Mode is how a product is sold.
type Mode uint8

// The modes of a sale.
const (
	FirstCome Mode = 1 // orders are taken while there is stock
	Ballot    Mode = 2 // entries are taken between two moments, and then drawn
	Interest  Mode = 3 // interest is registered; people are invited in waves
)

// SaleState is the state of a sale as a buyer sees it. A sale is in exactly one state.
type SaleState uint8

// The states of a sale. String returns the words of /status.json.
const (
	SaleUnknown  SaleState = 0 // this board has not read the sale from its order book yet
	SaleUpcoming SaleState = 1 // opens later
	SaleInStock  SaleState = 2 // first come: takes orders
	// SaleSoldOut: first come: no unit is free, or people on the waiting list come before a
	// new order. The waiting list, if the sale has one, is open.
	SaleSoldOut SaleState = 3
	SaleClosed  SaleState = 4 // by an operator or by time; for a ballot see SaleDrawing
	SaleOpen    SaleState = 5 // takes ballot entries, or registrations of interest
	SaleDrawing SaleState = 6 // a ballot that is over and not drawn yet
	SaleDrawn   SaleState = 7 // a ballot that is drawn
)

// OrderState is the state of an order.
type OrderState uint8

// The states of an order.
const (
	StateOpen        OrderState = 1  // an order placed, an entry in the ballot, a place in the queue
	StateInvited     OrderState = 2  // units are held until Order.Until
	StateWon         OrderState = 3  // an entry whose units are sold; it is fulfilled like an order
	StateLost        OrderState = 4  // an entry that won nothing
	StateFulfilling  OrderState = 5  // being passed to the fulfiller: the buyer can no longer cancel
	StateFulfilled   OrderState = 6  // the fulfiller has it
	StateCancelled   OrderState = 7  // an order or entry that was cancelled
	StateLeft        OrderState = 8  // a waiting-list place or registration that was cancelled
	StateExpired     OrderState = 9  // an invitation that was not accepted in time
	StateErased      OrderState = 10 // the person is erased; the numbers remain
	StateReturned    OrderState = 11 // came back after it was fulfilled
	StateUnconfirmed OrderState = 12 // counts only once its person confirms it by the mailed link, until Order.Until
)

// Outcome is how a command ended.
type Outcome uint8

// Outcomes of PlaceOrder. Only Placed changes the book; only Placed and AlreadyDone return an
// order.
const (
	Placed       Outcome = 1  // an order was created, or an invitation became an order
	AlreadyDone  Outcome = 2  // it was already done, and nothing changed; Answer.Order has it
	Differs      Outcome = 3  // the person or the address has an order: see PlaceOrder
	OverLimit    Outcome = 4  // Answer.Remaining more units would be allowed; from rules 3 on it is the sale's limit
	SoldOut      Outcome = 5  // Answer.Remaining units are free, fewer than requested
	NotOpen      Outcome = 6  // the sale opens at Answer.Opens
	Closed       Outcome = 7  // the sale, the ballot or the waiting list is closed
	PriceChanged Outcome = 8  // the order costs Answer.Total
	NoSuchSale   Outcome = 9  // the product is not in the book
	WrongKind    Outcome = 10 // such as interest in a product that is in stock; see Answer.State
	NoShipping   Outcome = 11 // the sale does not deliver to the person's country
	IDInUse      Outcome = 12 // the ID or OpID belongs to another command: draw a new one
	Malformed    Outcome = 13 // the command does not pass its Check; a form must not send it
)

// Outcomes of the other commands; they use AlreadyDone, NoSuchSale, IDInUse and Malformed too.
const (
	Done      Outcome = 20 // carried out; Answer.Count counts what changed
	TooLate   Outcome = 21 // the state of the order or the sale no longer allows it
	NoOrder   Outcome = 22 // there is no such order
	NotEnough Outcome = 23 // fewer units are free (Answer.Remaining) than would be removed
	Full      Outcome = 24 // the book has MaxSales products already, or the stock would exceed MaxStock, or see PlaceOrder.Network
	NotClosed Outcome = 25 // the sale is not closed, or Answer.Count people wait, are invited or await its draw
	NoWebhook Outcome = 27 // the sale has no webhook
	Restoring Outcome = 26 // a restore is in progress, and keeps orders and operators' commands out; PlaceOrder too
)

// Person is the person of an order: the only personal data in the book. Fields are
// trimmed, NFC-normalised, valid UTF-8 without control characters; Line2 and Postcode may
// be empty. String and GoString return nothing of it, so that it cannot slip into a log.
type Person struct {
	Name, Email, Line1, Line2, City, Postcode string
	Country                                   string // ISO 3166-1 alpha-2
}

// String returns nothing about the person.
func (Person) String() string { return "(a person)" }

// GoString returns nothing about the person.
func (Person) GoString() string { return "orders.Person{…}" }

// Answer is the reply to any command. Fields that its outcome does not use are zero.
type Answer struct {
	Outcome   Outcome
	Order     ID        // Placed, AlreadyDone, and Done of a command about an order
	Position  int       // Placed in a queue: the position, from 1
	State     SaleState // of the sale after the command; 0 if the command has no sale
	Opens     time.Time // NotOpen
	Total     int64     // PriceChanged: the price now, in minor units
	Remaining int       // OverLimit, SoldOut, NotEnough: see there. Erase: orders still to erase
	Count     int       // Invite: people; Tick: changes; Erase: orders erased
}

// Order is the record of an order, a ballot entry, a registration of interest or a
// waiting-list place, by its Kind. It has one reference.
type Order struct {
	ID       ID
	Kind     Kind
	Product  string
	Number   uint64 // in order of arrival over all products, from 1
	Quantity int
	Total    int64 // minor units, as the page showed it; price, shipping and tax
	Currency string
	Person   Person // zero if Erased
	Made     time.Time
	State    OrderState
	Was      OrderState // Erased: the state before; otherwise 0
	Until    time.Time  // Invited, Unconfirmed, Expired: the end of that
	Changed  time.Time  // when State last changed
	Ready    time.Time  // order, winning entry: when it is due for fulfilment
	Note     string     // why it was cancelled or how it was fulfilled; of a returned order both, see Reason; no personal data
	// Split is Total by its parts, as they were when the order was placed. Of an order from before
	// rules 2 whose person is erased only the Total may be known.
	Split      Split
	HandedOver bool // the fulfiller may have it: at least one attempt was begun
	Restocked  bool // Returned: its units went back to the stock, and were not written off
	Unheld     bool // Unconfirmed: no units are held for it. It gets some when it is confirmed, if any are free
	// SameAddress is another order in the sale from this postal address, with which that would have more than the limit; 0 = none.
	SameAddress ID
	// Confirmed: it was confirmed from its mailbox, and belongs to that. The form that made it has lost its receipt.
	Confirmed bool
}

// Cancellable reports whether the buyer can still cancel the order, as far as the order
// alone shows: an entry whose ballot has closed is refused with TooLate.
func (o Order) Cancellable() bool {
	return slices.Contains([]OrderState{StateOpen, StateInvited, StateWon, StateUnconfirmed}, o.State)
}

// Sale is one product's sale.
type Sale struct {
	Product         string
	Mode            Mode
	State           SaleState // at the book's last command; StateAt computes it for any moment
	Stock           int64     // always Sold + Held + Free
	Sold            int64     // orders and winning entries that were not cancelled
	Held            int64     // reserved for invited people and unconfirmed orders
	Free            int64
	Limit           int  // units per person
	LimitByAddress  bool // the same limit also holds for each postal address
	Opens           time.Time
	Closes          time.Time // zero = never
	WaitingList     bool
	Waiting         int // people in the queue of the waiting list
	Interested      int // people in the queue of an Interest sale
	Entries         int // entries in the ballot
	Price           int64
	Currency        string
	Countries       []Country     // in the order of the offer; shared, read only
	FulfilmentDelay time.Duration // from Placed to Order.Ready
	drawBegun       bool          // nothing in the ballot can change any more
	Retain          time.Duration // how long a finished order keeps its person; 0 = until erased
	Draw            DrawInfo
	Webhook         bool // orders get webhook jobs
	Mail            bool // orders get mail jobs
	// Invitations is the validity of an automatic invitation: see Offer. 0 = people are invited
	// by hand only.
	Invitations time.Duration
	// Confirm is the time in which a person can confirm by mail; 0 = orders count at once. See Confirms.
	Confirm time.Duration
	Retired bool   // hidden from lists: see RetireSale
	Version uint64 // grows with every change of any other field

	closed bool // by an operator
	// noFit: nobody in the queue wants as few units as this. noRank: no lost entry does.
	noFit, noRank int64
}

// Confirms reports whether what people place counts only once they confirm it by mail: entries until the
// close, anything else for the time of Confirm.
func (s *Sale) Confirms() bool { return s.Confirm > 0 && s.Mail }

// NoteUnconfirmed is the note of an expired order that was not confirmed.
const NoteUnconfirmed = "not confirmed by mail"

// Reasons of Sale.Stuck.
const (
	StuckByHand = "by_hand" // an operator has to invite people
	StuckClosed = "closed"  // an operator has closed the sale
	StuckTooFew = "too_few" // everybody who waits wants more units than are free
)

// Stuck returns why units are free although people wait for some: one of the reasons above, ""
// if nothing is stuck.
func (s *Sale) Stuck() string {
	waiting := s.Waiting+s.Interested > 0 || s.hasLosers() && s.Free > s.noRank
	switch {
	case s.Free == 0 || !waiting:
		return ""
	case s.Invitations == 0:
		return StuckByHand
	case s.closed || s.Retired:
		return StuckClosed
	case s.Free <= s.noFit:
		return StuckTooFew
	}
	return ""
}

// hasLosers reports whether the sale is a drawn ballot with entries that lost.
func (s *Sale) hasLosers() bool { return !s.Draw.At.IsZero() && s.Entries > s.Draw.Winners }

// Country is a country that a sale delivers to.
type Country struct {
	Code     string // ISO 3166-1 alpha-2
	Shipping int64  // per order, whatever its quantity, in minor units
	Tax      int    // hundredths of a percent, 0 to 10,000, on price and shipping
}

// DrawInfo is the public part of a ballot's draw.
type DrawInfo struct {
	Version    int       // see draw.File
	Commitment string    // hex; published from the offer on
	PublicKind draw.Kind // the public randomness that the draw waits for
	Dice       int       // their number, if it waits for dice; 0 in version 1
	List       string    // hex; the hash of the list, once it is fixed; "" before, and in version 1
	Listed     time.Time // when the list was fixed; zero before
	Boards     time.Time // the same moment by most boards' own clocks: see draw.File
	Public     draw.Public
	Taken      time.Time // when the book accepted Public; zero before, and in version 1
	At         time.Time // when the draw was finished; zero before
	Stock      int64     // units in the draw
	Winners    int       // entries that won
}

// Promise returns what is fixed of a ballot's public randomness.
func (s *Sale) Promise() draw.Promise {
	p := draw.Promise{Kind: s.Draw.PublicKind, Dice: s.Draw.Dice}
	if p.Kind == draw.Drand {
		p.Round = draw.RoundAfter(s.Closes)
	}
	return p
}

// NeedsBoards reports whether the list of a ballot is still to be fixed, and only by a Tick with Boards: whether it is earlier than its round
// of drand must not depend on a clock that one operator can set.
func (s *Sale) NeedsBoards() bool {
	return s.Draw.Version > 1 && s.Draw.PublicKind == draw.Drand && s.Draw.List == ""
}

// DrawFile returns the published record of a ballot's draw without secret, entries and result.
func (s *Sale) DrawFile() draw.File {
	f := draw.File{
		Version: s.Draw.Version, Product: s.Product, Opens: s.Opens.UTC(), Closes: s.Closes.UTC(), Stock: s.Free,
		Commitment: s.Draw.Commitment, Public: s.Draw.Public,
		Promised: draw.Promise{Kind: s.Draw.PublicKind}, Entries: []draw.Entry{}, Winners: []string{}, Losers: []string{},
	}
	if f.Version > 1 {
		f.Promised, f.List, f.Listed, f.Boards, f.Taken = s.Promise(), s.Draw.List, s.Draw.Listed, s.Draw.Boards, s.Draw.Taken
	}
	if !s.Draw.Listed.IsZero() || !s.Draw.At.IsZero() {
		f.Stock = s.Draw.Stock
	}
	return f
}

// CheckPublic returns a draw.ErrPublic unless the randomness is what the ballot was promised.
func (s *Sale) CheckPublic(p draw.Public) error {
	if s.Draw.Version < 2 {
		return p.Fits(s.Draw.PublicKind, s.Closes)
	}
	return s.Promise().Accepts(p)
}

// News is an announcement.
type News struct {
	At   time.Time
	Text string
}

// AuditEntry is one entry of the operators' audit trail. Action is plain words without
// personal data. A refused command that is sent again is counted in its first entry, with the
// time of the last one.
type AuditEntry struct {
	Number   uint64 // from 1
	At       time.Time
	Operator string
	Action   string
	Times    int // 1 or more
}

// Queue is one of the two queues of the outbox.
type Queue uint8

// The queues of the outbox.
const (
	QueueWebhook Queue = 1
	QueueMail    Queue = 2
)

// JobKind is the kind of message that a job sends.
type JobKind uint8

// The jobs of the outbox. An order has at most one job in each queue: a newer one replaces one
// that was not sent yet.
const (
	JobWebhook       JobKind = 1
	JobMailPlaced    JobKind = 2
	JobMailInvited   JobKind = 3
	JobMailWon       JobKind = 4
	JobMailCancelled JobKind = 5
	JobMailSent      JobKind = 6 // an operator marked the order as sent; its Note may say how
	JobMailReturned  JobKind = 7
	JobCancelled     JobKind = 8  // webhook: see Order.HandedOver
	JobReturned      JobKind = 9  // webhook
	JobMailLink      JobKind = 10 // the order's receipt has another address
	JobMailExists    JobKind = 11 // somebody sent a form for this person again, and nothing was placed
	JobMailConfirm   JobKind = 12 // the link that confirms an unconfirmed order
)

// IsMail reports whether the job sends a mail; otherwise it calls a webhook.
func (j JobKind) IsMail() bool {
	return j >= JobMailPlaced && j <= JobMailReturned || j >= JobMailLink
}

// Job is something to send about an order.
type Job struct {
	Kind  JobKind
	Since time.Time // when it becomes due
	Order Order
}

// Filter selects orders; a zero field selects all.
type Filter struct {
	Product string
	Kind    Kind
	State   OrderState
}
