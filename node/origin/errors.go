package origin

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// Errors of a fetch. Each has an error page of its own.
var (
	// ErrDown: the server cannot be reached, or broke off the connection.
	ErrDown = errors.New("the origin cannot be reached or breaks connections off")
	// ErrSlow: the server did not answer, or did not continue, in time.
	ErrSlow = errors.New("the origin takes too long")
	// ErrBusy: no permit for another request or connection became free in time.
	ErrBusy = errors.New("the origin is at its limit of concurrent requests")
	// ErrMalformed: the reply is not HTTP, or can be read in two ways.
	ErrMalformed = errors.New("the origin sent a malformed reply")
)

// Errors of a request that is not accepted.
var (
	// ErrLoop: it has passed through this rack already.
	ErrLoop = errors.New("the origin of this rack is the rack itself: [origin] url must name another server")
	// ErrTarget: its Host or its path does not name a page.
	ErrTarget = errors.New("not the address of a page")
	// ErrMethod: CONNECT and TRACE are not supported.
	ErrMethod = errors.New("this server does not support the method")
	// ErrUnknownMethod: no standard has the method, nor does the site's configuration.
	ErrUnknownMethod = errors.New("this site has no such method")
	// ErrFields: it has more header fields than any browser sends.
	ErrFields = errors.New("the request has too many fields")
)

// Methods is the value of the Allow field for ErrMethod.
const Methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// dialError distinguishes a failed dial from a broken connection.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// classifyError wraps a transport's error so that it matches one of those above.
func classifyError(err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, ErrMalformed), errors.Is(err, ErrSlow), errors.Is(err, ErrDown), errors.Is(err, ErrBusy):
		return fmt.Errorf("origin: %w", err)
	case isTimeout(err):
		return fmt.Errorf("origin: %w: %w", ErrSlow, err)
	default:
		return fmt.Errorf("origin: %w: %w", ErrDown, err)
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
