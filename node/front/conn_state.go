package front

// connState is what a connection is doing. It decides who may act on the connection and
// how long the state may last (timeouts). DESIGN.md draws the states and the transitions
// between them; mayFollow has the same arrows.
type connState uint32

const (
	stateNew         connState = iota // accepted, or the handshake is over; no request has begun to arrive
	stateHandshake                    // a TLS handshake is under way
	stateIdle                         // between two requests
	stateReading                      // a part of a request has arrived
	stateAnswering                    // requests are parsed, and replies are made
	stateFlushing                     // the client does not take its replies at once
	stateBorrowed                     // net/http answers one request, on loan
	stateNetHTTP                      // net/http serves it for good: a request is under way
	stateNetHTTPIdle                  // the same, between two requests
	stateHTTP2Idle                    // the same with HTTP/2: net/http sends a GOAWAY before it closes
	stateLingering                    // the last reply is out; the client must close
	stateClosing                      // the sweep has ended it: nothing may begin any more
	stateGone                         // closed, and out of the table
	stateCount
)

// mayFollow returns the states that may follow a state. In addition, the sweep moves any
// state but stateGone to stateClosing, and closing the socket moves any to stateGone.
func (s connState) mayFollow() []connState {
	return [stateCount][]connState{
		stateNew:       {stateHandshake, stateAnswering, stateNetHTTP},
		stateHandshake: {stateNew, stateNetHTTP},
		stateIdle:      {stateAnswering},
		stateReading:   {stateAnswering, stateNetHTTP, stateFlushing}, // the client may close its side after half a request
		stateAnswering: {
			stateAnswering, stateIdle, stateReading, stateFlushing, stateBorrowed, stateNetHTTP, stateLingering,
		},
		stateFlushing:    {stateAnswering},
		stateBorrowed:    {stateAnswering, stateFlushing},
		stateNetHTTP:     {stateNetHTTP, stateNetHTTPIdle, stateHTTP2Idle},
		stateNetHTTPIdle: {stateNetHTTP},
		stateHTTP2Idle:   {stateNetHTTP},
	}[s]
}

// action is what is due after some requests have been answered. All but actionSendFirst
// lead out of stateAnswering. Pending output goes through stateFlushing first, whatever
// the action.
type action uint8

const (
	actionWait      action = iota // wait for more input: to stateIdle, or to stateReading
	actionSendFirst               // send the replies to make room, then answer the rest: stays in stateAnswering
	actionLend                    // let net/http answer the next request: to stateBorrowed
	actionHandOff                 // leave the connection to net/http: to stateNetHTTP
	actionClose                   // close after the last reply: to stateLingering
	actionDrop                    // close at once: the client or the sweep has ended the connection, or a loan is not reusable
)

// readResult says how a connection goes on after some input has been handled.
type readResult bool

const (
	needsInput readResult = false // nothing is due until more input arrives
	actionDue  readResult = true  // conn.next is due
)

// A connection's state and the sweep at which it began are one word, so that the
// connection and the sweep never disagree: the state in the lowest bits, then probedBit,
// then the number of sweeps. 27 bits of half seconds are two years.
const (
	stateBits = 4
	stateMask = 1<<stateBits - 1
	// probedBit: the sweep has asked the kernel in this idle state whether the client is
	// there.
	probedBit  = 1 << stateBits
	sweepShift = stateBits + 1
)

func packState(s connState, sweep uint32) uint32 { return uint32(s) | sweep<<sweepShift }

func stateOf(word uint32) connState { return connState(word & stateMask) }

// sweepsSince returns the number of sweeps since the word's state began.
func sweepsSince(word, sweep uint32) uint32 {
	return (sweep<<sweepShift - word&^(1<<sweepShift-1)) >> sweepShift
}

func (c *conn) currentState() connState { return stateOf(c.state.Load()) }

// enter begins a state. It reports false if the sweep has ended the connection. Only the
// goroutine or event loop that serves the connection calls it.
func (c *conn) enter(s connState) bool { return c.enterAsOf(s, c.front.conns.sweeps.Load()) }

// enterAsOf is enter as if at an earlier sweep: the state's time began then.
func (c *conn) enterAsOf(s connState, sweep uint32) bool {
	for {
		was := c.state.Load()
		if stateOf(was) >= stateClosing {
			return false
		}
		if c.state.CompareAndSwap(was, packState(s, sweep)) {
			if checksTransitions {
				checkTransition(stateOf(was), s)
			}
			return true
		}
	}
}

// beginClosing ends a connection whose state word is still the expected one. It reports
// false if the connection has moved on.
func (c *conn) beginClosing(expected, sweep uint32) bool {
	return c.state.CompareAndSwap(expected, packState(stateClosing, sweep))
}

// forceClosing ends a connection whatever it is doing.
func (c *conn) forceClosing(sweep uint32) {
	for {
		was := c.state.Load()
		if stateOf(was) >= stateClosing || c.beginClosing(was, sweep) {
			return
		}
	}
}

// markGone moves the connection to stateGone. It reports false if it was there already.
func (c *conn) markGone() bool {
	return stateOf(c.state.Swap(packState(stateGone, 0))) != stateGone
}
