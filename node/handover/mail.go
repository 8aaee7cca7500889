package handover

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
	"golang.org/x/net/idna"

	"bramble/node/orders"
)

const (
	// trustFor is how long a mail server is taken to be mistaken that refuses a mail for a
	// reason that may be its own or ours, such as a rule or a login that was not set up.
	trustFor = 24 * time.Hour
	// giveUpAfter is how long a mail is tried that the server puts off each time; RFC 5321
	// names four to five days. A server that is away is no such answer.
	giveUpAfter = 5 * 24 * time.Hour
)

// stage is how far a mail has come.
type stage int

// The stages of a mail, in their order.
const (
	connecting stage = iota // no connection, or no greeting
	securing                // STARTTLS
	loggingIn
	naming     // MAIL FROM
	addressing // RCPT TO
	handing    // DATA, and what the server says to it
)

var (
	errNoStartTLS = errors.New("the server does not offer STARTTLS; set tls if it speaks TLS from the first byte")
	errNoLogin    = errors.New("the server offers neither PLAIN nor LOGIN inside TLS")
	errAddress    = errors.New("not a mail address")
	errASCIIOnly  = errors.New("the server takes no addresses beyond ASCII")
)

// stageError is an error and where it came up.
type stageError struct {
	stage stage
	err   error
}

func (e *stageError) Error() string { return e.err.Error() }

// Unwrap gives errors.As what the server or the system said.
func (e *stageError) Unwrap() error { return e.err }

func at(s stage, err error) error {
	if err == nil {
		return nil
	}
	return &stageError{stage: s, err: err}
}

// mailer sends mail to buyers, each on a connection of its own: a quiet shop sends one
// now and then, and a server that sees many has nothing against a new connection.
type mailer struct {
	cfg   Mail
	host  string
	from  *mail.Address
	hello string
	roots *x509.CertPool
	text  writer
	now   func() time.Time
}

func newMailer(cfg Config, now func() time.Time) (*mailer, error) {
	m, from, err := checkMail(cfg.Mail)
	if err != nil {
		return nil, err
	}
	if cfg.ShopName == "" {
		return nil, wrong("ShopName must be given if there is mail")
	}
	host, _, err := net.SplitHostPort(m.Server)
	if err != nil {
		return nil, wrong("[mail] server: %w", err)
	}
	if from.Name == "" {
		from.Name = cfg.ShopName
	}
	from.Name = oneLine(from.Name)
	return &mailer{
		cfg: m, host: host, from: from, roots: cfg.Roots, now: now,
		// A board's own name is no public one, and some servers ask for that.
		hello: from.Address[strings.LastIndexByte(from.Address, '@')+1:],
		text:  writer{shop: oneLine(cfg.ShopName), receipt: cfg.ReceiptURL, title: cfg.Title, amount: cfg.Amount},
	}, nil
}

// tell sends one mail once. since is when its job was made.
func (m *mailer) tell(ctx context.Context, p orders.Paper, what orders.What, since time.Time) verdict {
	to, err := recipientOf(p.Person)
	if err != nil {
		to = &mail.Address{}
	}
	msg, ok := m.compose(p, what, to)
	if !ok {
		return verdict{how: Superseded}
	}
	if err != nil {
		return verdict{how: Undeliverable, detail: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	err = m.send(ctx, to.Address, msg)
	var failed *stageError
	if ended := ctx.Err(); ended != nil && errors.As(err, &failed) {
		err = at(failed.stage, ended) // that the connection was closed is only how it ended
	}
	return judgeMail(err, m.now().Sub(since))
}

// compose writes the mail; ok is false if what it would say is no longer so.
func (m *mailer) compose(p orders.Paper, what orders.What, to *mail.Address) (msg *gomail.Msg, ok bool) {
	now := m.now()
	subject, body, ok := m.text.write(p, what, now)
	if !ok {
		return nil, false
	}
	msg = gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithCharset(gomail.CharsetUTF8), gomail.WithEncoding(gomail.EncodingQP))
	msg.FromMailAddress(m.from)
	msg.ToMailAddress(to)
	msg.Subject(subject)
	msg.SetDateWithValue(now.UTC())
	// The same at every try, so that whoever gets it twice can know it.
	msg.SetMessageIDWithValue(messageID(p.ID, what, m.hello))
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: answer no holiday notes
	msg.SetBodyString(gomail.TypeTextPlain, body)
	return msg, true
}

// send takes a mail to the server. Its errors have a stage.
func (m *mailer) send(ctx context.Context, to string, msg *gomail.Msg) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.cfg.Server)
	if err != nil {
		return at(connecting, err)
	}
	// Whatever goes on, it ends with ctx.
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return at(connecting, err)
		}
	}
	secure := &tls.Config{ServerName: m.host, RootCAs: m.roots, MinVersion: tls.VersionTLS12}
	if m.cfg.TLS == FullTLS {
		client := tls.Client(conn, secure)
		if err := client.HandshakeContext(ctx); err != nil {
			return at(securing, err)
		}
		conn = client
	}
	c, err := smtp.NewClient(conn, m.host)
	if err != nil {
		return at(connecting, err)
	}
	if err := c.Hello(m.hello); err != nil {
		return at(connecting, err)
	}
	if m.cfg.TLS == StartTLS {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return at(securing, errNoStartTLS)
		}
		if err := c.StartTLS(secure); err != nil {
			return at(securing, err)
		}
	}
	if m.cfg.User != "" {
		if err := c.Auth(&login{user: m.cfg.User, password: m.cfg.Password, host: m.host}); err != nil {
			return at(loggingIn, err)
		}
	}
	if isASCII(to) {
		// Some relays behind a server that has SMTPUTF8 do not, and send back what asks for it.
		c.SkipSMTPUTF8(true)
	} else if ok, _ := c.Extension("SMTPUTF8"); !ok {
		return at(addressing, errASCIIOnly)
	}
	if err := c.Mail("<" + m.from.Address + ">"); err != nil {
		return at(naming, err)
	}
	if err := c.Rcpt("<" + to + ">"); err != nil {
		return at(addressing, err)
	}
	data, err := c.Data()
	if err != nil {
		return at(handing, err)
	}
	if _, err := msg.WriteTo(data); err != nil {
		return at(handing, err) // without its end, the mail is none
	}
	if err := data.Close(); err != nil {
		return at(handing, err)
	}
	// The server has it. It may hang up as it likes.
	_ = c.Quit()
	return nil
}

// login is PLAIN where the server has it and LOGIN otherwise, and inside TLS only.
type login struct {
	user, password, host string
	smtp.Auth            // the one chosen
}

// Start chooses. The password is not sent to a server without TLS, localhost included.
func (l *login) Start(server *smtp.ServerInfo) (string, []byte, error) {
	switch {
	case !server.TLS:
		return "", nil, smtp.ErrUnencrypted
	case slices.Contains(server.Auth, "PLAIN"):
		l.Auth = smtp.PlainAuth("", l.user, l.password, l.host, false)
	case slices.Contains(server.Auth, "LOGIN"):
		l.Auth = smtp.LoginAuth(l.user, l.password, l.host, false)
	default:
		return "", nil, errNoLogin
	}
	return l.Auth.Start(server)
}

// recipientOf is whom to write to: the name as a header may hold it, and an address that
// is one and no more. The error says nothing of it.
func recipientOf(p orders.Person) (*mail.Address, error) {
	if !oneASCIILine(strings.Map(asASCII, p.Email)) || strings.ContainsAny(p.Email, "<>\"\\ ") {
		return nil, errAddress
	}
	a, err := mail.ParseAddress("<" + p.Email + ">")
	if err != nil || a.Address != p.Email {
		return nil, errAddress
	}
	local, domain, _ := strings.Cut(p.Email, "@")
	if isASCII(local) && !isASCII(domain) {
		// Every server takes the domain in its ASCII form.
		if domain, err = idna.Lookup.ToASCII(domain); err != nil {
			return nil, errAddress
		}
	}
	return &mail.Address{Name: oneLine(p.Name), Address: local + "@" + domain}, nil
}

// judgeMail says what has become of a mail, age after its job was made. Of what the
// server says only its numbers are kept, because servers repeat the address.
func judgeMail(err error, age time.Duration) verdict {
	if err == nil {
		return verdict{how: ByMail}
	}
	where := connecting
	var failed *stageError
	if errors.As(err, &failed) {
		where = failed.stage
	}
	if errors.Is(err, errASCIIOnly) {
		return verdict{how: Undeliverable, detail: errASCIIOnly.Error()}
	}
	if errors.Is(err, errNoStartTLS) {
		return verdict{fault: FaultTLS, detail: errNoStartTLS.Error(), lane: true}
	}
	if errors.Is(err, errNoLogin) || errors.Is(err, smtp.ErrUnencrypted) {
		return verdict{fault: FaultLogin, detail: errNoLogin.Error(), lane: true}
	}
	var reply *textproto.Error
	if !errors.As(err, &reply) {
		v := judgeError(err)
		v.lane = where < handing // a server that breaks off inside a mail may do so for that mail
		return v
	}
	class, subject := enhanced(reply.Msg)
	v := verdict{detail: fmt.Sprintf("reply %d", reply.Code)}
	if class != 0 {
		v.detail = fmt.Sprintf("reply %d %d.%d", reply.Code, class, subject)
	}
	permanent := reply.Code >= 500 && reply.Code <= 599
	switch {
	case where == loggingIn && permanent:
		v.fault, v.lane = FaultLogin, true
	case where < addressing && permanent:
		v.fault, v.lane = FaultRefused, true
	case where < addressing, reply.Code == 421:
		v.fault, v.lane = FaultBusy, true
	case permanent && (nobody(where, reply.Code, class, subject) || age >= trustFor):
		return verdict{how: Undeliverable, detail: v.detail}
	case permanent:
		v.fault = FaultRefused
	case age >= giveUpAfter:
		return verdict{how: Undeliverable, detail: v.detail}
	default:
		v.fault = FaultBusy
	}
	return v
}

// nobody reports whether a permanent reply is about the recipient: X.1 is about the
// address and X.2 about the mailbox (RFC 3463). X.7, a rule, is as often about the sender:
// a server refuses so all mail of a shop whose login is not set up.
func nobody(where stage, code, class, subject int) bool {
	if class == 5 {
		return subject == 1 || subject == 2
	}
	return where == addressing && (code == 550 || code == 551 || code == 552 || code == 553)
}

// enhanced reads the first two numbers of an enhanced status code, such as "5.1.1", from
// the beginning of a reply's text; zeros if it has none.
func enhanced(text string) (class, subject int) {
	var detail int
	if n, err := fmt.Sscanf(text, "%1d.%3d.%3d", &class, &subject, &detail); err != nil || n != 3 || class < 2 {
		return 0, 0
	}
	return class, subject
}
