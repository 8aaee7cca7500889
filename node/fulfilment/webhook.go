package fulfilment

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"bramble/node/orders"
)

const (
	// maxReply bounds the part of a reply's body that is read, so that its connection can be
	// reused. Its content does not matter.
	maxReply = 4 << 10
	// maxReplyHeader bounds the header of a reply.
	maxReplyHeader = 16 << 10
	// idleFor is the time for which an idle connection stays open for the next post.
	idleFor = 30 * time.Second
)

// The types of event.
const (
	typeOrderPlaced    = "order.placed"
	typeOrderCancelled = "order.cancelled"
	typeOrderReturned  = "order.returned"
)

// webhookEvent is the body of a post, JSON in UTF-8. It is the same, byte for byte, at each
// attempt for an order. Data is an orderPlaced or an orderEnded.
type webhookEvent struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // RFC 3339, UTC: when it happened
	Data      any       `json:"data"`
}

// orderFigures are what every event has of its order.
type orderFigures struct {
	Reference string   `json:"reference"` // such as "K7QM-2XD9-5VB"
	Product   string   `json:"product"`   // its slug in the catalogue
	Quantity  int      `json:"quantity"`
	Total     amount   `json:"total"`         // of price, shipping and tax, for all units
	Tax       *TaxPart `json:"tax,omitempty"` // of total; missing only for an order from before the ledger recorded it
}

// orderPlaced is an order, or a ballot entry that won. Its webhook-id is the reference.
type orderPlaced struct {
	orderFigures
	Person recipient `json:"person"`
	Made   time.Time `json:"made"` // RFC 3339, UTC
}

// orderEnded is an order that was cancelled after it may have been posted, or that came
// back after it was fulfilled. It holds nothing personal. Its webhook-id has ".cancelled" or ".returned" after the reference.
type orderEnded struct {
	orderFigures
	Reason    string    `json:"reason"`              // as the operator wrote it; may be ""
	Restocked *bool     `json:"restocked,omitempty"` // order.returned: whether the units can be sold again
	Made      time.Time `json:"made"`
	Ended     time.Time `json:"ended"` // RFC 3339, UTC: the same as timestamp
}

// TaxPart is the tax in a total, in its minor units: Net and Amount together are the total.
type TaxPart struct {
	Net     int64  `json:"net"` // price and shipping
	Amount  int64  `json:"amount"`
	Percent string `json:"percent"` // such as "19" or "5.5"
}

// amount is money in whole minor units: 3500 with "USD" is 35 dollars.
type amount struct {
	Minor    int64  `json:"minor"`
	Currency string `json:"currency"` // ISO 4217
}

// recipient is the buyer and where the order goes. Line2 and postcode may be "".
type recipient struct {
	Name     string `json:"name"`
	Email    string `json:"email"`
	Line1    string `json:"line1"`
	Line2    string `json:"line2"`
	City     string `json:"city"`
	Postcode string `json:"postcode"`
	Country  string `json:"country"` // ISO 3166-1 alpha-2
}

// TaxOf returns the tax of an order; nil if it is not known: see orders.Order.
func TaxOf(o orders.Order) *TaxPart {
	s := o.Split
	if s.Price+s.Shipping+s.Tax != o.Total {
		return nil
	}
	return &TaxPart{Net: s.Price + s.Shipping, Amount: s.Tax, Percent: orders.FormatPercent(s.TaxRate)}
}

// encodeEvent returns the body of an order's post, and its webhook-id.
func encodeEvent(o orders.Order, kind orders.JobKind) (body []byte, id string, err error) {
	id = o.ID.String()
	figures := orderFigures{Reference: id, Product: o.Product, Quantity: o.Quantity, Total: amount{o.Total, o.Currency}, Tax: TaxOf(o)}
	event := webhookEvent{Type: typeOrderPlaced, Timestamp: o.Made.UTC(), Data: orderPlaced{figures, recipient(o.Person), o.Made.UTC()}}
	if kind != orders.JobWebhook {
		ended := orderEnded{orderFigures: figures, Reason: o.Reason(), Made: o.Made.UTC(), Ended: o.Changed.UTC()}
		event.Type = typeOrderCancelled
		if kind == orders.JobReturned {
			event.Type, ended.Restocked = typeOrderReturned, &o.Restocked
		}
		event.Timestamp, event.Data = ended.Ended, ended
		id += strings.TrimPrefix(event.Type, "order")
	}
	body, err = json.Marshal(event)
	return body, id, err
}

// poster posts orders to the fulfiller.
type poster struct {
	url     string
	secret  Secret
	timeout time.Duration
	client  *http.Client
	now     func() time.Time
}

func newPoster(u *url.URL, secret Secret, timeout time.Duration, roots *x509.CertPool, workers int, now func() time.Time) *poster {
	return &poster{
		url: u.String(), secret: secret, timeout: cmp.Or(timeout, defaultWebhookTimeout), now: now,
		client: &http.Client{
			// The secret is shared with this address only.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			// The proxy of the environment is not used: a board's environment is not configuration.
			Transport: &http.Transport{
				DialContext:            (&net.Dialer{}).DialContext,
				TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
				ForceAttemptHTTP2:      true,
				MaxConnsPerHost:        workers,
				MaxIdleConnsPerHost:    workers,
				IdleConnTimeout:        idleFor,
				MaxResponseHeaderBytes: maxReplyHeader,
				DisableCompression:     true,
			},
		},
	}
}

func (p *poster) postOrder(ctx context.Context, o orders.Order, kind orders.JobKind) attemptResult {
	body, id, err := encodeEvent(o, kind)
	if err != nil { // a time beyond the year 9999
		return attemptResult{failure: FailureRefused, detail: "it cannot be written as JSON", refused: true}
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return attemptResult{failure: FailureUnreachable, channelFailed: true}
	}
	at := p.now()
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Bramble")
	r.Header.Set(HeaderID, id)
	r.Header.Set(HeaderTimestamp, formatTimestamp(at))
	r.Header.Set(HeaderSignature, p.secret.Sign(id, at, body))
	reply, err := p.client.Do(r)
	if err != nil {
		return errorResult(err)
	}
	defer reply.Body.Close()
	// An error in the body changes nothing: the status has acknowledged the order.
	_, _ = io.CopyN(io.Discard, reply.Body, maxReply)
	return statusResult(reply.StatusCode, reply.Header.Get("Retry-After"), at)
}

func (p *poster) close() { p.client.CloseIdleConnections() }

func statusResult(status int, retryAfter string, now time.Time) attemptResult {
	v := attemptResult{detail: "status " + strconv.Itoa(status)}
	switch {
	case status >= 200 && status <= 299:
		return attemptResult{resolution: ByWebhook}
	case status >= 300 && status <= 399:
		v.failure, v.refused = FailureRedirect, true
	case status == http.StatusGone:
		v.failure, v.channelFailed, v.refused, v.unsubscribed = FailureGone, true, true, true
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		v.failure, v.channelFailed, v.retryAfter = FailureBusy, true, parseRetryAfter(retryAfter, now)
	case status == http.StatusRequestTimeout, status == http.StatusConflict, status == http.StatusTooEarly:
		v.failure = FailureBusy
	case status == http.StatusBadGateway, status == http.StatusGatewayTimeout:
		v.failure, v.channelFailed = FailureServer, true
	case status >= 400 && status <= 499:
		v.failure, v.refused = FailureRefused, true
	default:
		v.failure = FailureServer
	}
	return v
}

// parseRetryAfter reads seconds or a date; anything else is 0.
func parseRetryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// errorResult converts the error of an attempt without a reply. The detail has no text from
// the peer, because a peer may repeat the request, and with it personal data.
func errorResult(err error) attemptResult {
	v := attemptResult{failure: FailureUnreachable, channelFailed: true}
	var (
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		name        *net.DNSError
		op          *net.OpError
		timeout     net.Error
	)
	switch {
	case errors.As(err, &certificate):
		v.failure, v.detail = FailureTLS, certificate.Err.Error()
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		v.failure, v.detail = FailureTLS, "it does not speak TLS"
	case errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error"): // crypto/tls wraps an alert like this
		v.failure, v.detail = FailureTLS, op.Err.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		v.failure = FailureTimeout
	case errors.As(err, &name):
		v.detail = "no such host: " + name.Name
	case errors.As(err, &op) && op.Op == "dial":
		v.detail = op.Error()
	}
	return v
}
