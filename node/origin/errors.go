package origin

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// Why a page could not be had; each becomes a plain page of its own.
var (
	// ErrDown: the server cannot be reached, or broke off.
	ErrDown = errors.New("the origin cannot be reached or breaks off")
	// ErrSlow: the server did not answer, or not go on, in time.
	ErrSlow = errors.New("the origin takes too long")
	// ErrBusy: no place for another request came free in time.
	ErrBusy = errors.New("the origin has more to do than it may be given")
	// ErrMalformed: the reply is no HTTP, or could be read in two ways.
	ErrMalformed = errors.New("the origin sent a malformed reply")
)

// Why a request was not taken on.
var (
	// ErrLoop: it has been through this rack already.
	ErrLoop = errors.New("the origin of this rack is the rack itself: [origin] url must name another server")
	// ErrTarget: its Host or path names no page.
	ErrTarget = errors.New("that is no address of a page")
	// ErrMethod: CONNECT and TRACE have no place here.
	ErrMethod = errors.New("this server does not do that")
	// ErrFields: it has more fields than any browser sends.
	ErrFields = errors.New("the request has too many fields")
)

// Methods is what Allow says beside ErrMethod.
const Methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// dialError sets a connection that could not be made apart from one that broke.
type dialError struct{ error }

// Unwrap gives errors.Is what the system said.
func (e dialError) Unwrap() error { return e.error }

// classifyError says of which kind a transport's error is.
func classifyError(err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, ErrMalformed), errors.Is(err, ErrSlow), errors.Is(err, ErrDown):
		return fmt.Errorf("origin: %w", err)
	case isTimeout(err):
		return fmt.Errorf("origin: %w: %w", ErrSlow, err)
	default:
		return fmt.Errorf("origin: %w: %w", ErrDown, err)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
