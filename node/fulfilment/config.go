package fulfilment

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/mail"
	"net/url"
	"strconv"
	"time"

	"bramble/node/orders"
)

// Config configures a Sender.
type Config struct {
	Jobs    JobStore      // must be set
	Webhook WebhookConfig // the zero value: no webhook
	Mail    MailConfig    // the zero value: no mail

	// Leading reports whether this board delivers; exactly one board of a rack does. It
	// should become true only after the board has applied everything committed before;
	// otherwise finished jobs are delivered a second time. It must be set.
	Leading func() bool
	// ShopName is the sender's name in mail, such as "Brambly's". It must be set if there is
	// mail.
	ShopName string
	// ReceiptURL returns the address that a mail of a kind has: that of the order's receipt, or of the page that confirms it;
	// nil or "" = mail has no link.
	ReceiptURL func(orders.Order, orders.JobKind) string
	// Title returns a product's name for people; nil = its slug.
	Title func(product string) string
	// Amount writes minor units of a currency for people; nil = mail has no totals.
	Amount func(minor int64, currency string) string

	// Now returns the time. A receiver refuses signatures that are five minutes off.
	// nil = time.Now.
	Now func() time.Time
	// Jitter draws uniformly from 0 to n-1. nil = math/rand/v2's Int64N.
	Jitter func(n int64) int64
	// Poll is the interval at which the outbox is read. 0 = a second.
	Poll time.Duration
	// Roots are the trusted certificate authorities. nil = the system's.
	Roots *x509.CertPool
	// Logger logs what happens, by reference only. nil = no log.
	Logger *slog.Logger
}

// WebhookConfig configures the receiver of orders.
type WebhookConfig struct {
	// URL receives the posts; http or https. Orders hold names and addresses, so http is
	// for a receiver on the same cable. "" = no webhook.
	URL     string
	Secret  string        // see ParseSecret
	Timeout time.Duration // of one post; 0 = 15 s
}

// TLSMode is how the connection to a mail server is encrypted.
type TLSMode string

// The modes. The server's certificate is always verified.
const (
	// StartTLS begins in clear text and switches to TLS before anything else. A server
	// that does not offer it gets no mail. Usually port 587.
	StartTLS TLSMode = "starttls"
	// FullTLS is TLS from the first byte. Usually port 465.
	FullTLS TLSMode = "tls"
	// NoTLS reveals every name and address to anybody on the network. It is for a mail server on
	// the same machine or cable, and allows no user and password.
	NoTLS TLSMode = "none"
)

// MailConfig configures the server that sends mail to buyers.
type MailConfig struct {
	Server   string // host:port; "" = no mail
	From     string // such as "Shop <shop@shop.example>"; without a name it is ShopName
	User     string // "" = no login
	Password string
	TLS      TLSMode       // "" = StartTLS
	Timeout  time.Duration // of one mail; 0 = 1 minute
}

const (
	defaultWebhookTimeout = 15 * time.Second
	defaultMailTimeout    = time.Minute
	defaultPoll           = time.Second
)

// ErrConfig: every error of New matches it.
var ErrConfig = errors.New("fulfilment: the configuration is wrong")

func configError(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)
}

func checkURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.Opaque != "":
		// The error does not repeat the text: its query may hold a key.
		return nil, configError(`[webhook] url is not an http or https address; write one such as "https://warehouse.example/orders"`)
	case u.User != nil:
		return nil, configError("[webhook] url holds a user or password; take them out, the signature authenticates the sender")
	case u.Fragment != "":
		return nil, configError(`[webhook] url has a part after "#", which is never sent; take it out`)
	}
	return u, nil
}

// checkMail checks the settings of a mail server, fills in its defaults, and returns its host and the sender.
func checkMail(m MailConfig) (_ MailConfig, host string, from *mail.Address, err error) {
	host, port, err := net.SplitHostPort(m.Server)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host == "" || port == "0" {
		return m, "", nil, configError(`[mail] server %q is not host:port; write one such as "mail.example:587"`, m.Server)
	}
	switch m.TLS {
	case "":
		m.TLS = StartTLS
	case StartTLS, FullTLS:
	case NoTLS:
		if m.User != "" {
			return m, "", nil, configError(`[mail] a password is not sent without TLS; set tls to "starttls" or "tls", or take the user out`)
		}
	default:
		return m, "", nil, configError("[mail] tls %q is none of starttls, tls and none", string(m.TLS))
	}
	m.Timeout = cmp.Or(m.Timeout, defaultMailTimeout)
	from, err = mail.ParseAddress(m.From)
	if err != nil || !isPrintableASCII(from.Address) {
		return m, "", nil, configError(`[mail] from %q is not a mail address; write one such as "Shop <shop@shop.example>"`, m.From)
	}
	return m, host, from, nil
}
