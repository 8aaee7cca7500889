package certs

import (
	"crypto/x509"
	"errors"
	"hash/fnv"
	"time"

	"golang.org/x/crypto/acme"
)

// renewBefore is the time left at which a certificate is renewed, as Let's Encrypt
// advises for 90 days. Certificates with a shorter life are renewed in its last third.
const renewBefore = 30 * 24 * time.Hour

// renewalTime returns when to renew a name's certificate. Times are spread over a
// tenth of the remaining life, so that many names are not due at once.
func renewalTime(name string, leaf *x509.Certificate) time.Time {
	before := min(renewBefore, leaf.NotAfter.Sub(leaf.NotBefore)/3)
	hash := fnv.New32a()
	hash.Write([]byte(name))
	spread := time.Duration(float64(before) / 10 * float64(hash.Sum32()) / (1 << 32))
	return leaf.NotAfter.Add(spread - before)
}

const (
	// minRefusedDelay and maxRefusedDelay bound the backoff after a failed validation.
	// Let's Encrypt allows five of these per name and hour, and an attempt can make
	// two: so the next attempt is after ten minutes, and then after hours.
	minRefusedDelay = 10 * time.Minute
	maxRefusedDelay = 6 * time.Hour
	// minErrorDelay and maxErrorDelay are the same for errors without a validation,
	// such as a CA that does not answer.
	minErrorDelay = time.Minute
	maxErrorDelay = time.Hour
)

// retryDelay returns the backoff after a number of consecutive failures, the last of
// which is err.
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
