package cache

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// Defaults of Config.
const (
	DefaultBudget       = 64 << 20
	DefaultMaxObject    = 1 << 20
	DefaultMaxFills     = 64
	DefaultFillWait     = 5 * time.Second
	DefaultFillTimeout  = time.Minute
	DefaultStreamLimit  = time.Hour
	DefaultReaderStall  = 20 * time.Second
	DefaultMaxVariants  = 16
	DefaultStaleOnError = 24 * time.Hour
	DefaultUnsharedFor  = 10 * time.Second
)

// minBudget is the least budget with which there is any point in a cache.
const minBudget = 1 << 20

// fillPart is the part of the budget that bodies on their way into the store
// may take: an eighth.
const fillPart = 8

// Config says how a cache behaves. The zero value of every field means its
// default.
type Config struct {
	// Name stands for this cache in Cache-Status (RFC 9211), "bramble" if empty.
	Name string
	// NoCacheStatus leaves Cache-Status away.
	NoCacheStatus bool
	// Via is the name under which replies are signed with a Via field
	// (RFC 9110 §7.6.3): the same on all boards of a rack, so that a reply
	// that crosses two of them is signed once. Empty is no field. The requests
	// are the caller's to sign.
	Via string
	// Budget is the number of bytes that everything in the cache may take:
	// stored objects with all their bookkeeping, and bodies that are on their
	// way in. An eighth of it is set aside for the latter. At least 1 MiB.
	Budget int64
	// MaxObject is the largest body, in bytes, that is stored; larger ones
	// stream through. It must be at most a sixteenth of Budget; unset it is 1 MiB
	// or a sixty-fourth of Budget, whichever is less.
	MaxObject int64
	// Now is the clock, time.Now if nil.
	Now func() time.Time
	// ClockTrusted says whether the clock can be compared with an origin's
	// Date. A board without a real-time clock answers false until it was told
	// the time: then only Age counts, as RFC 9111 §4.2.3 allows. nil is yes.
	ClockTrusted func() bool
	// Logger gets what an operator should know; slog.Default if nil.
	Logger *slog.Logger
	// ErrorHandler answers a request for which there is neither a reply from upstream
	// nor a stored one that may be used. err matches ErrBusy, ErrOnlyIfCached,
	// ErrBadReply, ErrUpstream or ErrClosed, and what the Upstream gave. The
	// default is a plain text page with 502, 503 or 504 (see [FailStatus]).
	ErrorHandler func(w http.ResponseWriter, r *http.Request, err error)
	// OnStore is told of each new object that entered the store through a
	// route with Share set. It is called on the fill's goroutine, after the
	// object can be found, and must not block.
	OnStore func(o *Object)
	// OnInvalidate is told which URLs an unsafe method made out of date here
	// (RFC 9111 §4.4), so that the owner can tell others. It must not block.
	OnInvalidate func(url string)
	// OnReplace is called in place of OnInvalidate for a URL whose reply to a
	// POST is about to be stored here (RFC 9110 §9.3.3). It must purge the URL
	// before it returns, here exactly once; what any other purge is about is
	// not stored. nil means OnInvalidate, which must not purge here then if
	// such replies are to be kept. It must not block.
	OnReplace func(url string)
	// AwaitInvalidation is called once for each unsafe request that made something out of
	// date, after OnInvalidate and OnReplace have been told of all its URLs and
	// before its client gets any of the reply. It may wait, within a bound of its
	// own, until other caches know too: who has the reply may ask any of them.
	AwaitInvalidation func(ctx context.Context)

	// MaxFills bounds the fetches that are under way at once; half as many
	// long replies that are not stored may stream besides. Each holds at most
	// 128 KiB beyond what the budget pays for, so 64 of them about 12 MB.
	MaxFills int
	// FillWait bounds the wait for one of these places.
	FillWait time.Duration
	// FillTimeout bounds a fetch whose reply is to be stored, from its start to
	// the last byte, and any other up to the end of its fields.
	FillTimeout time.Duration
	// StreamLimit bounds the time a reply that is not stored may stream.
	StreamLimit time.Duration
	// ReaderStall is how long one client may hold up a body that others wait
	// for too, or that does not fit, before it is cut off.
	ReaderStall time.Duration
	// MaxVariants bounds the variants of one URL (Vary).
	MaxVariants int
	// StaleOnError is for how long past its lifetime a reply may be served when
	// upstream fails, if the reply says nothing about it and nothing in it
	// forbids it. A day by default: at a launch an old page beats no page.
	// Negative means never.
	StaleOnError time.Duration
	// UnsharedFor is how long a URL whose reply could not be shared is fetched
	// for each client at once instead of for one first.
	UnsharedFor time.Duration
	// Compress stores text of 1 to 256 KiB that came uncompressed through a route
	// with Share set as gzip too, once, beside the original. Off by default: it
	// adds Vary to replies, makes their entity tags weak, and takes CPU.
	Compress bool
	// KeepSetCookie stores and replays Set-Cookie with replies that say public
	// or s-maxage. Without it the field goes to the first client only.
	KeepSetCookie bool
	// ClientDirectives honours no-cache, no-store, max-age, min-fresh and
	// max-stale in requests. Off by default: a crowd that presses F5 must not
	// reach the origin. only-if-cached is always honoured.
	ClientDirectives bool
}

// withDefaults fills in the defaults and refuses what cannot work.
func (cfg Config) withDefaults() (Config, error) {
	setDefault(&cfg.Name, "bramble")
	setDefault(&cfg.Budget, DefaultBudget)
	setDefault(&cfg.MaxObject, min(DefaultMaxObject, cfg.Budget/64))
	setDefault(&cfg.MaxFills, DefaultMaxFills)
	setDefault(&cfg.FillWait, DefaultFillWait)
	setDefault(&cfg.FillTimeout, DefaultFillTimeout)
	setDefault(&cfg.StreamLimit, DefaultStreamLimit)
	setDefault(&cfg.ReaderStall, DefaultReaderStall)
	setDefault(&cfg.MaxVariants, DefaultMaxVariants)
	setDefault(&cfg.StaleOnError, DefaultStaleOnError)
	setDefault(&cfg.UnsharedFor, DefaultUnsharedFor)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.ClockTrusted == nil {
		cfg.ClockTrusted = func() bool { return true }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = writePlainError
	}
	switch {
	case cfg.Budget < minBudget:
		return cfg, fmt.Errorf("cache: a budget of %d bytes is too small, give at least %d", cfg.Budget, minBudget)
	case cfg.MaxObject < 0 || cfg.MaxObject > cfg.Budget/16:
		return cfg, fmt.Errorf("cache: objects of up to %d bytes do not fit a budget of %d, allow at most a sixteenth of it: %d",
			cfg.MaxObject, cfg.Budget, cfg.Budget/16)
	case cfg.MaxFills < 0 || cfg.MaxVariants < 0:
		return cfg, fmt.Errorf("cache: MaxFills and MaxVariants must be positive")
	}
	return cfg, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
