package certs

import (
	"crypto/x509"
	"errors"
	"hash/fnv"
	"time"

	"golang.org/x/crypto/acme"
)

// renewBefore is how long before its end a certificate is replaced: what Let's
// Encrypt advises for 90 days. Shorter ones are when a third is left.
const renewBefore = 30 * 24 * time.Hour

// renewalTime is when a name's certificate is to be replaced: spread over a tenth of
// the time that is left then, so that many names do not come at once.
func renewalTime(name string, leaf *x509.Certificate) time.Time {
	before := min(renewBefore, leaf.NotAfter.Sub(leaf.NotBefore)/3)
	hash := fnv.New32a()
	hash.Write([]byte(name))
	spread := time.Duration(float64(before) / 10 * float64(hash.Sum32()) / (1 << 32))
	return leaf.NotAfter.Add(spread - before)
}

const (
	// minRefusedDelay and mostRefused bound the pause after a CA has tried to reach a
	// name and could not. Let's Encrypt bears five such failures of a name an hour,
	// and a try may be two: one at once, one after ten minutes, then hours.
	minRefusedDelay = 10 * time.Minute
	maxRefusedDelay = 6 * time.Hour
	// minErrorDelay and mostLost are the same where nothing was tried, such as a CA
	// that does not answer.
	minErrorDelay = time.Minute
	maxErrorDelay = time.Hour
)

// retryDelay is how long to wait after some failures in a row, the last of which
// is err.
func retryDelay(failures int, err error) time.Duration {
	first, most, factor := minErrorDelay, maxErrorDelay, time.Duration(2)
	var refused *acme.AuthorizationError
	var order *acme.OrderError
	if errors.As(err, &refused) || errors.As(err, &order) {
		first, most, factor = minRefusedDelay, maxRefusedDelay, 6
	}
	pause := first
	for range failures - 1 {
		pause = min(pause*factor, most)
	}
	if asked, limited := acme.RateLimit(err); limited {
		pause = max(pause, asked)
	}
	return pause
}
