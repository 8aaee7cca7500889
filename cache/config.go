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
	DefaultMaxFetches   = 64
	DefaultFetchWait    = 5 * time.Second
	DefaultFetchTimeout = time.Minute
	DefaultStreamLimit  = time.Hour
	DefaultReaderStall  = 20 * time.Second
	DefaultMaxVariants  = 16
	DefaultStaleOnError = 24 * time.Hour
	DefaultUnsharedFor  = 10 * time.Second
)

// maxFetchQueue limits the fetches that wait for a permit.
const maxFetchQueue = 1024

// minBudget is the smallest budget with which a cache is useful.
const minBudget = 1 << 20

// incomingPart: bodies on their way into the store may use an eighth of the budget.
const incomingPart = 8

// Config is the configuration of a cache. The zero value of a field means its
// default.
type Config struct {
	// Name identifies this cache in Cache-Status (RFC 9211), "bramble" if empty.
	Name string
	// NoCacheStatus omits Cache-Status.
	NoCacheStatus bool
	// Via is the name in the Via field that is added to replies (RFC 9110 §7.6.3):
	// the same on all boards of a rack, so that a reply that crosses two of them
	// names it once. Empty means no field. The caller adds Via to requests.
	Via string
	// Budget limits the bytes of everything in the cache: stored objects with all
	// their bookkeeping, and bodies that are on their way in, for which an eighth
	// is reserved. At least 1 MiB.
	Budget int64
	// MaxObject is the largest body, in bytes, that is stored; larger ones
	// stream through. It must be at most a sixteenth of Budget; the default is 1 MiB
	// or a sixty-fourth of Budget, whichever is less.
	MaxObject int64
	// Now is the clock, time.Now if nil.
	Now func() time.Time
	// ClockTrusted reports whether the clock can be compared with an origin's
	// Date. A board without a real-time clock returns false until its clock is set:
	// until then only Age counts, as RFC 9111 §4.2.3 allows. nil means true.
	ClockTrusted func() bool
	// Logger receives messages for the operator; slog.Default if nil.
	Logger *slog.Logger
	// ErrorHandler answers a request for which there is neither a reply from
	// upstream nor a stored one that may be used. err matches ErrBusy,
	// ErrOnlyIfCached, ErrBadReply, ErrUpstream or ErrClosed, and the Upstream's
	// own error. The default is a plain text page with 502, 503 or 504 (see
	// [ErrorStatus]).
	ErrorHandler func(w http.ResponseWriter, r *http.Request, err error)
	// OnStore is called with each new object that entered the store through a
	// route with Replicate set: on the flight's goroutine, when the object can be
	// found. It must not block.
	OnStore func(o *Object)
	// OnInvalidate is called with each URL that an unsafe method has changed (RFC 9111
	// §4.4). It must purge the URL here, with Selector.Invalid and at most once, and from
	// other caches, before it returns; or later, if it merges changes that come fast. If
	// nil, the cache purges it. It must not block. The reply to a POST that is about to be
	// stored under the URL (RFC 9110 §9.3.3) survives that purge, but no other.
	OnInvalidate func(url string)
	// AwaitInvalidation is called once for each unsafe request that invalidated
	// something, after OnInvalidate was called with all its URLs and
	// before its client gets any of the reply. It may wait for a bounded time until
	// other caches have invalidated the URLs too: a client that has the reply may send
	// its next request to any of them.
	AwaitInvalidation func(ctx context.Context)

	// MaxFetches limits the fetches under way at once; in addition, half as many long
	// replies that are not stored may stream. Each holds at most 128 KiB outside the
	// budget, so 64 of them about 12 MB.
	MaxFetches int
	// SharesFetches: there are several sites, and one (the host of a URL) gets no more
	// fetches than are free: half of all, if no other site wants any.
	SharesFetches bool
	// FetchWait limits the wait for one of these permits.
	FetchWait time.Duration
	// FetchTimeout limits a fetch whose reply will be stored, from its start to
	// the last byte, and any other up to the end of its fields.
	FetchTimeout time.Duration
	// StreamLimit limits the time that a reply that is not stored may stream.
	StreamLimit time.Duration
	// ReaderStall limits the time for which one client may delay a body that others
	// wait for too, or that does not fit the window; then it is disconnected.
	ReaderStall time.Duration
	// MaxVariants limits the variants of one URL (Vary).
	MaxVariants int
	// StaleOnError limits the time past its lifetime for which a reply may be
	// served when upstream fails, if the reply has no stale-if-error and no directive
	// that forbids it. A day by default: at a launch an old page is better than none.
	// Negative means never.
	StaleOnError time.Duration
	// UnsharedFor is the time for which requests for a URL whose reply could not
	// be shared are fetched in parallel at once, and none waits for another.
	UnsharedFor time.Duration
	// Compress also stores text of 1 to 256 KiB that came uncompressed through a
	// route with Replicate set as gzip, once, beside the original. Off by default:
	// it adds Vary to replies, makes their entity tags weak, and takes CPU.
	Compress bool
	// KeepSetCookie stores and replays Set-Cookie with replies that say public
	// or s-maxage. Without it only the first client gets the field.
	KeepSetCookie bool
	// ClientDirectives honours no-cache, no-store, max-age, min-fresh and
	// max-stale in requests. Off by default: a crowd that presses F5 must not
	// reach the origin. only-if-cached is honoured always.
	ClientDirectives bool
}

// withDefaults sets the defaults and rejects a configuration that cannot work.
func (cfg Config) withDefaults() (Config, error) {
	setDefault(&cfg.Name, "bramble")
	setDefault(&cfg.Budget, DefaultBudget)
	setDefault(&cfg.MaxObject, min(DefaultMaxObject, cfg.Budget/64))
	setDefault(&cfg.MaxFetches, DefaultMaxFetches)
	setDefault(&cfg.FetchWait, DefaultFetchWait)
	setDefault(&cfg.FetchTimeout, DefaultFetchTimeout)
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
		return cfg, fmt.Errorf("cache: a budget of %d bytes is too small: set at least %d", cfg.Budget, minBudget)
	case cfg.MaxObject < 0 || cfg.MaxObject > cfg.Budget/16:
		return cfg, fmt.Errorf("cache: objects of up to %d bytes do not fit a budget of %d: allow at most a sixteenth of it, %d",
			cfg.MaxObject, cfg.Budget, cfg.Budget/16)
	case cfg.MaxFetches < 0 || cfg.MaxVariants < 0:
		return cfg, fmt.Errorf("cache: MaxFetches and MaxVariants must be positive")
	}
	return cfg, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
