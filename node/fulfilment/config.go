package fulfilment

import (
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

// Config is what a Sender works with.
type Config struct {
	Jobs    JobStore      // must be given
	Webhook WebhookConfig // the zero value: nobody is told of orders
	Mail    MailConfig    // the zero value: no mail is sent

	// Leading reports whether this board does the telling; one board of a rack does. It
	// should become true only after the board has carried out all that was committed
	// before: otherwise jobs that are done are told once more. Must be given.
	Leading func() bool
	// ShopName is who the mail is from, such as "Brambly's". Must be given if there is mail.
	ShopName string
	// ReceiptURL is where a paper's receipt is; nil or "" = mail has no link.
	ReceiptURL func(orders.Order) string
	// Title is a product's name for people; nil = its slug.
	Title func(product string) string
	// Amount writes minor units of a currency for people; nil = mail gives no totals.
	Amount func(minor int64, currency string) string

	// Now is the time, true to some minutes: a receiver refuses signatures that are five
	// minutes off. nil = time.Now.
	Now func() time.Time
	// Jitter draws evenly from 0 to n-1. nil = math/rand/v2's Int64N.
	Jitter func(n int64) int64
	// Poll is how often the outbox is looked at. 0 = a second.
	Poll time.Duration
	// Roots are the certificate authorities to trust. nil = the system's.
	Roots *x509.CertPool
	// Logger hears what happens, by reference only. nil = nobody.
	Logger *slog.Logger
}

// WebhookConfig is who orders are handed over to.
type WebhookConfig struct {
	// URL is posted to, http or https. Orders hold names and addresses: http is for a
	// receiver on the same cable. "" = no webhook.
	URL     string
	Secret  string        // see ParseSecret
	Timeout time.Duration // of one post; 0 = 15 s
}

// TLSMode is how the connection to a mail server is secured.
type TLSMode string

// The ways to secure it. The certificate is always checked.
const (
	// StartTLS begins in clear and does nothing before it has become TLS. A server that
	// does not offer it gets no mail. Port 587 as a rule.
	StartTLS TLSMode = "starttls"
	// FullTLS is TLS from the first byte. Port 465 as a rule.
	FullTLS TLSMode = "tls"
	// NoTLS shows every name and address to whoever is on the way. It is for a mail server
	// on the same machine or cable, and goes without user and password.
	NoTLS TLSMode = "none"
)

// MailConfig is the server that takes mail to buyers.
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

// ErrConfig is what every error of New matches.
var ErrConfig = errors.New("handover: the configuration is not right")

func configError(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)
}

// checkURL accepts the address of a program on a web server.
func checkURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.Opaque != "":
		// The text is not repeated: its query may hold a key.
		return nil, configError(`[webhook] url is not an http or https address; write one such as "https://warehouse.example/orders"`)
	case u.User != nil:
		return nil, configError("[webhook] url holds a user or password; the signature tells who sends, take them out")
	case u.Fragment != "":
		return nil, configError(`[webhook] url has a part after "#", which is never sent; take it out`)
	}
	return u, nil
}

// checkMail accepts a mail server, and gives it its defaults.
func checkMail(m MailConfig) (MailConfig, *mail.Address, error) {
	host, port, err := net.SplitHostPort(m.Server)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host == "" || port == "0" {
		return m, nil, configError(`[mail] server %q is not host:port; write one such as "mail.example:587"`, m.Server)
	}
	switch m.TLS {
	case "":
		m.TLS = StartTLS
	case StartTLS, FullTLS:
	case NoTLS:
		if m.User != "" {
			return m, nil, configError(`[mail] a password is not sent without TLS; set tls to "starttls" or "tls", or take the user out`)
		}
	default:
		return m, nil, configError("[mail] tls %q is none of starttls, tls and none", string(m.TLS))
	}
	if m.Timeout <= 0 {
		m.Timeout = defaultMailTimeout
	}
	from, err := mail.ParseAddress(m.From)
	if err != nil || !isPrintableASCII(from.Address) {
		return m, nil, configError(`[mail] from %q is not a mail address; write one such as "Shop <shop@shop.example>"`, m.From)
	}
	return m, from, nil
}
