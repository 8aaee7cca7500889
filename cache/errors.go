package cache

import "errors"

// Sentinel errors. What [Config.Fail] and the methods of this package give can
// be told apart with errors.Is.
var (
	// ErrBusy: no place for a fill came free within Config.FillWait.
	ErrBusy = errors.New("cache: too many fetches are under way")
	// ErrOnlyIfCached: the client wanted a stored reply and there is none
	// (RFC 9111 §5.2.1.7).
	ErrOnlyIfCached = errors.New("cache: not stored, and the client wants nothing else")
	// ErrBadReply: upstream sent a reply that cannot be passed on: a field
	// with a control character, lengths that contradict each other, more than
	// 64 KiB of fields, or no final status.
	ErrBadReply = errors.New("cache: upstream sent a malformed reply")
	// ErrUpstream wraps whatever made an upstream fetch fail.
	ErrUpstream = errors.New("cache: upstream failed")
	// ErrClosed: the cache was closed.
	ErrClosed = errors.New("cache: closed")
	// ErrPurged: the object was purged while it was on its way.
	ErrPurged = errors.New("cache: purged in the meantime")
	// ErrTooLarge: the object is larger than Config.MaxObject.
	ErrTooLarge = errors.New("cache: object too large")
	// ErrOlder: a younger copy is stored already.
	ErrOlder = errors.New("cache: a younger copy is stored")
	// ErrNotAdmitted: what is stored is asked for more often.
	ErrNotAdmitted = errors.New("cache: not admitted")
	// ErrWire: the bytes are no object in wire form.
	ErrWire = errors.New("cache: not an object in wire form")
)
