package fulfilment

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
	// refusalGrace is the time for which a mail is retried that the server refuses for a
	// reason that may be temporary, such as a rule or a missing login.
	refusalGrace = 24 * time.Hour
	// giveUpAfter is the time for which a mail is retried that the server defers each time;
	// RFC 5321 names four to five days. An unreachable server does not defer.
	giveUpAfter = 5 * 24 * time.Hour
	// recipientPause is the least time between two attempts at a mail whose recipient the server defers or refuses. RFC 5321
	// §4.5.4.1 names 30 minutes, and servers with grey lists accept it after one to five; a buyer waits for the mail.
	recipientPause = 30 * time.Second
)

// smtpStage is the stage that the dialogue about a mail has reached.
type smtpStage int

// The stages, in their order.
const (
	stageConnect smtpStage = iota // no connection, or no greeting
	stageTLS                      // STARTTLS
	stageLogin
	stageFrom      // MAIL FROM
	stageRecipient // RCPT TO
	stageData      // DATA, and the server's reply to it
)

var (
	errNoStartTLS = errors.New("the server does not offer STARTTLS; set tls if it speaks TLS from the first byte")
	errNoLogin    = errors.New("the server offers neither PLAIN nor LOGIN inside TLS")
	errAddress    = errors.New("not a mail address")
	errASCIIOnly  = errors.New("the server accepts no addresses beyond ASCII")
)

type smtpError struct {
	stage smtpStage
	err   error
}

func (s *smtpError) Error() string { return s.err.Error() }

func (s *smtpError) Unwrap() error { return s.err }

func atStage(s smtpStage, err error) error {
	if err == nil {
		return nil
	}
	return &smtpError{stage: s, err: err}
}

// mailer sends mail to buyers, with one connection per mail: most shops send few mails, and
// a busy server does not mind a new connection.
type mailer struct {
	cfg   MailConfig
	host  string
	from  *mail.Address
	hello string
	roots *x509.CertPool
	text  mailWriter
	now   func() time.Time
}

func newMailer(cfg Config, now func() time.Time) (*mailer, error) {
	m, host, from, err := checkMail(cfg.Mail)
	if err != nil {
		return nil, err
	}
	if cfg.ShopName == "" {
		return nil, configError("ShopName must be set if there is mail")
	}
	if from.Name == "" {
		from.Name = cfg.ShopName
	}
	from.Name = oneLine(from.Name)
	return &mailer{
		cfg: m, host: host, from: from, roots: cfg.Roots, now: now,
		// Some servers require a public name, and a board has none.
		hello: from.Address[strings.LastIndexByte(from.Address, '@')+1:],
		text:  mailWriter{shop: oneLine(cfg.ShopName), receipt: cfg.ReceiptURL, title: cfg.Title, amount: cfg.Amount},
	}, nil
}

// deliverMail makes one attempt to send a mail. since is when its job was created.
func (m *mailer) deliverMail(ctx context.Context, o orders.Order, kind orders.JobKind, since time.Time) attemptResult {
	to, err := recipientOf(o.Person)
	if err != nil {
		to = &mail.Address{}
	}
	msg, ok := m.composeMail(o, kind, to)
	if !ok {
		return attemptResult{resolution: Superseded}
	}
	if err != nil {
		return attemptResult{resolution: Undeliverable, detail: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	err = m.sendMail(ctx, to.Address, msg)
	var failed *smtpError
	if ended := ctx.Err(); ended != nil && errors.As(err, &failed) {
		err = atStage(failed.stage, ended) // that the connection was closed is only how it ended
	}
	return mailResult(err, m.now().Sub(since))
}

// composeMail writes the mail; ok is false if the mail would no longer be true.
func (m *mailer) composeMail(o orders.Order, kind orders.JobKind, to *mail.Address) (msg *gomail.Msg, ok bool) {
	now := m.now()
	subject, body, ok := m.text.writeMail(o, kind, now)
	if !ok {
		return nil, false
	}
	msg = gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithCharset(gomail.CharsetUTF8), gomail.WithEncoding(gomail.EncodingQP))
	msg.FromMailAddress(m.from)
	msg.ToMailAddress(to)
	msg.Subject(subject)
	msg.SetDateWithValue(now.UTC())
	// The same at each attempt, so that a recipient can recognise a duplicate.
	msg.SetMessageIDWithValue(messageID(o.ID, kind, m.hello))
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: prevents automatic replies
	msg.SetBodyString(gomail.TypeTextPlain, body)
	return msg, true
}

// sendMail sends a mail to the server. Its errors are smtpErrors.
func (m *mailer) sendMail(ctx context.Context, to string, msg *gomail.Msg) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.cfg.Server)
	if err != nil {
		return atStage(stageConnect, err)
	}
	// The dialogue ends with ctx, at any stage.
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return atStage(stageConnect, err)
		}
	}
	secure := &tls.Config{ServerName: m.host, RootCAs: m.roots, MinVersion: tls.VersionTLS12}
	if m.cfg.TLS == FullTLS {
		client := tls.Client(conn, secure)
		if err := client.HandshakeContext(ctx); err != nil {
			return atStage(stageTLS, err)
		}
		conn = client
	}
	c, err := smtp.NewClient(conn, m.host)
	if err != nil {
		return atStage(stageConnect, err)
	}
	if err := c.Hello(m.hello); err != nil {
		return atStage(stageConnect, err)
	}
	if m.cfg.TLS == StartTLS {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return atStage(stageTLS, errNoStartTLS)
		}
		if err := c.StartTLS(secure); err != nil {
			return atStage(stageTLS, err)
		}
	}
	if m.cfg.User != "" {
		if err := c.Auth(&smtpLogin{user: m.cfg.User, password: m.cfg.Password, host: m.host}); err != nil {
			return atStage(stageLogin, err)
		}
	}
	if isASCII(to) {
		// Relays behind a server with SMTPUTF8 may lack it, and bounce mail that requests it.
		c.SkipSMTPUTF8(true)
	} else if ok, _ := c.Extension("SMTPUTF8"); !ok {
		return atStage(stageRecipient, errASCIIOnly)
	}
	if err := c.Mail("<" + m.from.Address + ">"); err != nil {
		return atStage(stageFrom, err)
	}
	if err := c.Rcpt("<" + to + ">"); err != nil {
		return atStage(stageRecipient, err)
	}
	data, err := c.Data()
	if err != nil {
		return atStage(stageData, err)
	}
	if _, err := msg.WriteTo(data); err != nil {
		return atStage(stageData, err) // the server drops a mail without its end
	}
	if err := data.Close(); err != nil {
		return atStage(stageData, err)
	}
	// The server has accepted the mail, so the end of the connection does not matter.
	_ = c.Quit()
	return nil
}

// smtpLogin is PLAIN if the server has it and LOGIN otherwise, inside TLS only.
type smtpLogin struct {
	user, password, host string
	smtp.Auth            // the one chosen
}

// Start chooses the mechanism. It sends no password to a server without TLS, not even on localhost.
func (s *smtpLogin) Start(server *smtp.ServerInfo) (string, []byte, error) {
	switch {
	case !server.TLS:
		return "", nil, smtp.ErrUnencrypted
	case slices.Contains(server.Auth, "PLAIN"):
		s.Auth = smtp.PlainAuth("", s.user, s.password, s.host, false)
	case slices.Contains(server.Auth, "LOGIN"):
		s.Auth = smtp.LoginAuth(s.user, s.password, s.host, false)
	default:
		return "", nil, errNoLogin
	}
	return s.Auth.Start(server)
}

// recipientOf returns the recipient of mail: a name that a header may hold, and exactly one
// address. The error does not contain either.
func recipientOf(p orders.Person) (*mail.Address, error) {
	if !isPrintableASCII(strings.Map(replaceNonASCII, p.Email)) || strings.ContainsAny(p.Email, "<>\"\\ ") {
		return nil, errAddress
	}
	a, err := mail.ParseAddress("<" + p.Email + ">")
	if err != nil || a.Address != p.Email {
		return nil, errAddress
	}
	local, domain, _ := strings.Cut(p.Email, "@")
	if isASCII(local) && !isASCII(domain) {
		// Every server accepts the domain in its ASCII form.
		if domain, err = idna.Lookup.ToASCII(domain); err != nil {
			return nil, errAddress
		}
	}
	return &mail.Address{Name: oneLine(p.Name), Address: local + "@" + domain}, nil
}

// mailResult converts the error of sendMail, age after the job was created. Of the server's
// reply it uses only the numbers, because servers repeat the address in the text.
func mailResult(err error, age time.Duration) attemptResult {
	if err == nil {
		return attemptResult{resolution: ByMail}
	}
	where := stageConnect
	var failed *smtpError
	if errors.As(err, &failed) {
		where = failed.stage
	}
	if errors.Is(err, errASCIIOnly) {
		return attemptResult{resolution: Undeliverable, detail: errASCIIOnly.Error()}
	}
	if errors.Is(err, errNoStartTLS) {
		return attemptResult{failure: FailureTLS, detail: errNoStartTLS.Error(), channelFailed: true}
	}
	if errors.Is(err, errNoLogin) || errors.Is(err, smtp.ErrUnencrypted) {
		return attemptResult{failure: FailureLogin, detail: errNoLogin.Error(), channelFailed: true}
	}
	var reply *textproto.Error
	if !errors.As(err, &reply) {
		v := errorResult(err)
		v.channelFailed = where < stageData // a server that breaks off within a mail may do so because of that mail
		return v
	}
	class, subject := parseEnhancedStatus(reply.Msg)
	v := attemptResult{detail: fmt.Sprintf("reply %d", reply.Code)}
	if class != 0 {
		v.detail = fmt.Sprintf("reply %d %d.%d", reply.Code, class, subject)
	}
	permanent := reply.Code >= 500 && reply.Code <= 599
	switch {
	case where == stageLogin && permanent:
		v.failure, v.channelFailed = FailureLogin, true
	case where < stageRecipient && permanent:
		v.failure, v.channelFailed = FailureRefused, true
	case where < stageRecipient, reply.Code == 421:
		v.failure, v.channelFailed = FailureBusy, true
	case permanent && (isRecipientRejected(where, reply.Code, class, subject) || age >= refusalGrace):
		return attemptResult{resolution: Undeliverable, detail: v.detail}
	case permanent:
		v.failure = FailureRefused
	case age >= giveUpAfter:
		return attemptResult{resolution: Undeliverable, detail: v.detail}
	default:
		v.failure = FailureBusy
	}
	if !v.channelFailed { // anybody can name such a recipient, so it says nothing about the others' mail
		v.jobFailed, v.retryAfter = true, recipientPause
	}
	return v
}

// isRecipientRejected reports whether a permanent reply concerns the recipient: X.1 is the
// address and X.2 the mailbox (RFC 3463). X.7, a policy, as often concerns the sender: with
// it a server refuses all mail of a shop whose login is not set up.
func isRecipientRejected(where smtpStage, code, class, subject int) bool {
	if class == 5 {
		return subject == 1 || subject == 2
	}
	return where == stageRecipient && (code == 550 || code == 551 || code == 552 || code == 553)
}

// parseEnhancedStatus returns the first two numbers of the enhanced status code, such as
// "5.1.1", at the beginning of a reply's text; zeros if it has none.
func parseEnhancedStatus(text string) (class, subject int) {
	var detail int
	if n, err := fmt.Sscanf(text, "%1d.%3d.%3d", &class, &subject, &detail); err != nil || n != 3 || class < 2 {
		return 0, 0
	}
	return class, subject
}
