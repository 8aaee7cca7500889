package orders

import (
	"errors"
	"time"

	"bramble/node/orders/draw"
)

// Bounds. Those on text are in bytes.
const (
	MaxSales      = 64          // products that the book knows; the shop's catalogue has at most 12
	MaxProduct    = 40          // a product's slug
	MaxStock      = 100_000_000 // units of one product
	MaxLimit      = 1000        // units that one person may have, and so the largest quantity
	MaxAmount     = 100_000_000_000
	MaxCountries  = 60
	MaxName       = 160
	MaxEmail      = 254 // RFC 5321 allows a path of 256 with its angle brackets
	MaxLine       = 160
	MaxCity       = 100
	MaxPostcode   = 20
	MaxOperator   = 80  // an operator's name
	MaxText       = 240 // an announcement, a reason, a note
	MaxCommand    = 16 << 10
	MaxNews       = 20     // announcements kept; older ones are dropped
	MaxOperations = 4096   // operator commands remembered by their OpID
	MaxAudit      = 50_000 // operator changes kept in the trail; older ones are dropped
	MaxPerCommand = 1000   // people invited, or papers forgotten, by one command
	MaxPage       = 1000   // things that one call of a reading method returns
)

// Errors of the reading methods and of Apply, matched with errors.Is.
var (
	ErrNoOrder   = errors.New("orders: there is no such order")
	ErrNoSale    = errors.New("orders: there is no such sale")
	ErrNoDraw    = errors.New("orders: nothing has been drawn")
	ErrNotQueued = errors.New("orders: the order is not waiting in a queue")
	// ErrBroken says that the book contradicts itself. It takes no command any more.
	ErrBroken = errors.New("orders: the order book contradicts itself and refuses to go on")
	// ErrDisk says that the working copy cannot be written, as on a full disk. Nothing has
	// changed: the same entry may be given again.
	ErrDisk = errors.New("orders: the working copy cannot be written")
	// ErrCommand says that bytes are not a command, or not one that this version knows.
	ErrCommand = errors.New("orders: not a command")
	// ErrAnswer says that bytes are not an answer.
	ErrAnswer = errors.New("orders: not an answer")
	// ErrSnapshot says that bytes are not a snapshot that this version can read.
	ErrSnapshot = errors.New("orders: not a snapshot of an order book")
	// ErrClosed says that the book was closed.
	ErrClosed = errors.New("orders: the order book is closed")
)

// Errors of those who submit commands to the ledger, matched with errors.Is.
var (
	// ErrNotCommitted: the command was not committed and never will be. It can be sent again.
	ErrNotCommitted = errors.New("orders: the command was not committed")
	// ErrUncertain: the command may or may not have been committed. It can be sent again,
	// because the order book carries out the same command once.
	ErrUncertain = errors.New("orders: it is not known whether the command was committed")
	// ErrUnavailable: the rack has no ledger yet. An error that wraps it may give the reason
	// after a colon, in words for a buyer: "…: it waits for 2 more boards".
	ErrUnavailable = errors.New("this rack does not take orders yet")
	// ErrStale: this board returns what it has, and could not find out whether there is
	// anything newer.
	ErrStale = errors.New("orders: this may have changed since")
	// ErrTooLate: the order cannot be cancelled any more.
	ErrTooLate = errors.New("orders: it is too late to cancel this")
)

// Kind is what the person pressed, and so what the paper is. A waiting or interest paper
// whose invitation is accepted becomes an order; a ballot entry stays an entry, also
// when it wins.
type Kind uint8

// The kinds of paper.
const (
	KindOrder    Kind = 1 // units at once
	KindEntry    Kind = 2 // an entry in a ballot
	KindInterest Kind = 3 // registered interest, in a sale that only registers
	KindWaiting  Kind = 4 // a place on the waiting list of a sale that is sold out or drawn
)

// Mode is how a product is sold.
type Mode uint8

// The modes of a sale.
const (
	FirstCome Mode = 1 // stock counts down
	Ballot    Mode = 2 // entries in a window, then a draw
	Interest  Mode = 3 // interest is registered; people are invited in waves
)

// SaleState is what a buyer came to learn. A sale is in exactly one of them.
type SaleState uint8

// The states of a sale. String returns the words of /status.json.
const (
	SaleUnknown  SaleState = 0 // this board has not read the sale from its order book yet
	SaleUpcoming SaleState = 1 // opens later
	SaleInStock  SaleState = 2 // first come: takes orders
	// SaleSoldOut: first come: no unit is free, or all that are free are for the people who
	// wait. The waiting list, if the sale has one, takes papers.
	SaleSoldOut SaleState = 3
	SaleClosed  SaleState = 4 // by hand or by the hour; for a ballot: see SaleDrawing
	SaleOpen    SaleState = 5 // a ballot that takes entries, or a sale that takes registrations
	SaleDrawing SaleState = 6 // a ballot that is over and not yet drawn
	SaleDrawn   SaleState = 7 // a ballot whose draw is done
)

// OrderState is where a paper stands.
type OrderState uint8

// The states of a paper.
const (
	StateOpen       OrderState = 1  // order taken / entry in the pot / waiting / registered
	StateInvited    OrderState = 2  // units are held until Paper.Until
	StateWon        OrderState = 3  // an entry whose units are sold; handed over like an order
	StateLost       OrderState = 4  // an entry that won nothing
	StateFulfilling OrderState = 5  // on its way to the fulfiller: the buyer can no longer cancel
	StateFulfilled  OrderState = 6  // with the fulfiller
	StateCancelled  OrderState = 7  // an order or entry taken back
	StateLeft       OrderState = 8  // a waiting or interest paper taken back
	StateExpired    OrderState = 9  // an invitation that was not used in time
	StateForgotten  OrderState = 10 // the person is erased; what is left are numbers
)

// Outcome is how a command ended.
type Outcome uint8

// Outcomes of an Ask. Only Taken made a paper; only Taken and Same carry one.
const (
	Placed       Outcome = 1  // a paper was made, or an invitation became an order
	Same         Outcome = 2  // nothing new: it was done before; Answer.Paper has it
	Differs      Outcome = 3  // the person has a paper with other details: ask (see Ask.More)
	OverLimit    Outcome = 4  // Answer.Left more units would be allowed
	SoldOut      Outcome = 5  // Answer.Left units are free, fewer than asked for
	NotOpen      Outcome = 6  // Answer.Opens tells when
	Closed       Outcome = 7  // the sale, the ballot or the waiting list takes nothing any more
	PriceChanged Outcome = 8  // Answer.Total is what it costs
	NoSuchSale   Outcome = 9  // nothing is offered under that name
	WrongKind    Outcome = 10 // such as interest in a product that is in stock; see Answer.State
	NoShipping   Outcome = 11 // the sale does not deliver to the person's country
	IDInUse      Outcome = 12 // the ID belongs to another paper: make a new ID and ask again
	Malformed    Outcome = 13 // the command does not pass its Check; a form must not send it
)

// Outcomes of the other commands; Same, NoSuchSale and Malformed are used by them too.
const (
	Done      Outcome = 20 // carried out; Answer.Count says how many where that makes sense
	TooLate   Outcome = 21 // the paper or the sale is past that
	NoOrder   Outcome = 22 // there is no such order
	NotEnough Outcome = 23 // fewer units are free (Answer.Left) than would be taken away
	Full      Outcome = 24 // the book knows MaxSales products already
)

// Person is who a paper is for. It is the only personal data in the book. Fields are
// trimmed, NFC-normalised, valid UTF-8 without control characters; Line2 and Postcode
// may be empty. Its String and GoString say nothing, so that it cannot slip into a log.
type Person struct {
	Name, Email, Line1, Line2, City, Postcode string
	Country                                   string // ISO 3166-1 alpha-2
}

// String says nothing about the person.
func (Person) String() string { return "(a person)" }

// GoString says nothing about the person.
func (Person) GoString() string { return "orders.Person{…}" }

// Answer is the reply to any command. Fields that mean nothing to its outcome are zero.
type Answer struct {
	Outcome  Outcome
	Order    ID        // Taken, Same, and Done of a command about a paper
	Position int       // Taken waiting or interest paper: its place in the queue, from 1
	State    SaleState // of the sale after the command; 0 if the command has no sale
	Opens    time.Time // NotOpen
	Total    int64     // PriceChanged: what it is now, in minor units
	Left     int       // OverLimit, SoldOut, NotEnough: see there. Forget: papers still to forget
	Count    int       // Invite: invited; Tick: things that changed; Forget: papers erased
}

// Order is what a person has with the shop under one reference.
type Order struct {
	ID       ID
	Kind     Kind
	Product  string
	Number   uint64 // in order of arrival over all products, from 1
	Quantity int
	Total    int64 // minor units, as the page showed it; price, shipping and tax
	Currency string
	Person   Person // zero if Forgotten
	Made     time.Time
	State    OrderState
	Was      OrderState // Forgotten: the state before; otherwise 0
	Until    time.Time  // Invited, Expired: the invitation's end
	Changed  time.Time  // when State last changed
	Ready    time.Time  // order, winning entry: when it is due for hand-over
	Note     string     // why it was cancelled, or how it was handed over; no personal data
}

// Cancellable reports whether the buyer may still take the paper back, as far as the
// paper alone tells: an entry whose ballot has closed is refused with TooLate.
func (p Order) Cancellable() bool {
	switch p.State {
	case StateOpen, StateInvited, StateWon:
		return true
	}
	return false
}

// Sale is one product's sale.
type Sale struct {
	Product         string
	Mode            Mode
	State           SaleState // at the book's last command; StateAt tells it for any moment
	Stock           int64     // Sold + Held + Free, always
	Sold            int64     // orders and winning entries that were not cancelled
	Held            int64     // for invited people
	Free            int64
	Limit           int  // units a person
	LimitByAddress  bool // the same limit for each postal address
	Opens           time.Time
	Closes          time.Time // zero = never
	WaitingList     bool
	Waiting         int // papers in the queue of a waiting list
	Interested      int // papers in the queue of an Interest sale
	Entries         int // entries in the pot
	Price           int64
	Currency        string
	Countries       []Country // in the order of the offer; shared, not to be changed
	FulfilmentDelay time.Duration
	Retain          time.Duration // how long a finished paper keeps its person; 0 = until forgotten
	Draw            DrawInfo
	Version         uint64 // grows by every change of any other field

	closed bool // by hand
}

// Country is a country that a sale delivers to.
type Country struct {
	Code     string // ISO 3166-1 alpha-2
	Shipping int64  // of one order, whatever its quantity, in minor units
	Tax      int    // hundredths of a percent, 0 to 10,000, on price and shipping
}

// DrawInfo is what there is to say about a ballot's draw.
type DrawInfo struct {
	Commitment string    // hex; published from the offer on
	PublicKind draw.Kind // the public randomness that the draw waits for
	Public     draw.Public
	At         time.Time // when the draw was done; zero before
	Stock      int64     // units drawn for
	Winners    int       // entries that won
}

// News is an announcement.
type News struct {
	At   time.Time
	Text string
}

// AuditEntry is one line of the operators' trail. What is plain words without personal data.
type AuditEntry struct {
	Number   uint64 // from 1
	At       time.Time
	Operator string
	Action   string
}

// Queue is one of the two queues of the outbox.
type Queue uint8

// The queues of the outbox.
const (
	QueueWebhook Queue = 1
	QueueMail    Queue = 2
)

// JobKind is what a job is about.
type JobKind uint8

// The jobs of the outbox. A paper has at most one webhook job and at most one mail job:
// a newer mail takes the place of one that was not sent yet.
const (
	JobWebhook       JobKind = 1
	JobMailPlaced    JobKind = 2
	JobMailInvited   JobKind = 3
	JobMailWon       JobKind = 4
	JobMailCancelled JobKind = 5
)

// Job is something to send about a paper.
type Job struct {
	Kind  JobKind
	Since time.Time // not to be done before
	Order Order
}

// Filter chooses papers; a zero field lets all pass.
type Filter struct {
	Product string
	Kind    Kind
	State   OrderState
}
