package fulfilment

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"bramble/node/orders"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// received is one mail as the server received it.
type received struct {
	from, to string
	secure   bool   // it came inside TLS
	login    string // "PLAIN user password"; "" = none
	text     string
}

// postOffice is an SMTP server that stores its mail.
type postOffice struct {
	mechanisms []string // it offers; none = no AUTH
	rcpt, data error    // its answers

	mu  sync.Mutex // protects got
	got []received
}

func (p *postOffice) mails() []received {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]received(nil), p.got...)
}

// NewSession is go-smtp's.
func (p *postOffice) NewSession(c *smtp.Conn) (smtp.Session, error) {
	s := &session{office: p, conn: c}
	if len(p.mechanisms) > 0 {
		return &authSession{s}, nil
	}
	return s, nil
}

type session struct {
	office *postOffice
	conn   *smtp.Conn
	mail   received
}

func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.mail.from = from
	_, s.mail.secure = s.conn.TLSConnectionState()
	return nil
}
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mail.to = to
	return s.office.rcpt
}
func (s *session) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if s.office.data != nil {
		return s.office.data
	}
	s.office.mu.Lock()
	defer s.office.mu.Unlock()
	s.mail.text = string(text)
	s.office.got = append(s.office.got, s.mail)
	return nil
}

type authSession struct{ *session }

func (a *authSession) AuthMechanisms() []string { return a.office.mechanisms }
func (a *authSession) Auth(mech string) (sasl.Server, error) {
	check := func(user, password string) error {
		a.mail.login = mech + " " + user + " " + password
		if password != "swordfish" {
			return smtp.ErrAuthFailed
		}
		return nil
	}
	if mech == "LOGIN" {
		return &loginServer{check: check}, nil
	}
	return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
}

// loginServer is the other side of AUTH LOGIN.
type loginServer struct {
	step  int
	user  string
	check func(user, password string) error
}

// Next is go-sasl's.
func (l *loginServer) Next(response []byte) ([]byte, bool, error) {
	l.step++
	switch l.step {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		l.user = string(response)
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.user, string(response))
}

// open starts the office; fullTLS is TLS from the first byte, and a certificate without
// it is offered by STARTTLS.
func (p *postOffice) open(t *testing.T, cert *tls.Certificate, fullTLS bool) string {
	t.Helper()
	server := smtp.NewServer(p)
	server.Domain, server.ErrorLog = "mail.example", log.New(io.Discard, "", 0)
	server.AllowInsecureAuth = true // what must not come in clear would be seen
	server.EnableSMTPUTF8 = true
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if cert != nil {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}}
		if fullTLS {
			listener = tls.NewListener(listener, server.TLSConfig)
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		_ = listener.Close() // Close does not know it if Serve has not begun
		<-ended
	})
	return address
}

// mailConfig configures a shop that sends mail.
func mailConfig(m MailConfig) Config {
	if m.From == "" {
		m.From = "orders@shop.example"
	}
	return Config{
		Mail: m, ShopName: "Brämble's", Jobs: newFakeJobStore(), Leading: func() bool { return true },
		ReceiptURL: func(p orders.Order, _ orders.JobKind) string {
			return "https://shop.example/r/" + p.ID.String() + "/token"
		},
		Title:  func(string) string { return "Raspberry Pi Model B" },
		Amount: func(int64, string) string { return "US$35.00" },
	}
}

func testMailer(t *testing.T, cfg Config) *mailer {
	t.Helper()
	m, err := newMailer(cfg, func() time.Time { return launch.Add(time.Minute) })
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMailIsSentAsConfigured(t *testing.T) {
	pool, cert := authority(t)
	for name, c := range map[string]struct {
		cert       *tls.Certificate
		full       bool
		mechanisms []string
		mail       MailConfig
		login      string
	}{
		"none":           {mail: MailConfig{TLS: NoTLS}},
		"starttls":       {cert: &cert, mail: MailConfig{TLS: StartTLS}},
		"by default":     {cert: &cert},
		"tls":            {cert: &cert, full: true, mail: MailConfig{TLS: FullTLS}},
		"starttls plain": {&cert, false, []string{"LOGIN", "PLAIN"}, MailConfig{TLS: StartTLS, User: "me", Password: "swordfish"}, "PLAIN me swordfish"},
		"starttls login": {&cert, false, []string{"LOGIN"}, MailConfig{TLS: StartTLS, User: "me", Password: "swordfish"}, "LOGIN me swordfish"},
		"tls plain":      {&cert, true, []string{"PLAIN"}, MailConfig{TLS: FullTLS, User: "me", Password: "swordfish"}, "PLAIN me swordfish"},
	} {
		t.Run(name, func(t *testing.T) {
			office := &postOffice{mechanisms: c.mechanisms}
			c.mail.Server = office.open(t, c.cert, c.full)
			cfg := mailConfig(c.mail)
			cfg.Roots = pool
			if v := testMailer(t, cfg).deliverMail(context.Background(), testOrder(0), orders.JobMailPlaced, launch); v != (attemptResult{resolution: ByMail}) {
				t.Fatalf("%+v", v)
			}
			got := office.mails()
			if len(got) != 1 || got[0].to != "zoe@home.example" || got[0].from != "orders@shop.example" ||
				got[0].secure != (c.cert != nil) || got[0].login != c.login {
				t.Errorf("%+v", got)
			}
		})
	}
}

// If the server's TLS is missing or not trusted, neither mail nor password is sent.
func TestMailIsNotSentInsecurely(t *testing.T) {
	pool, cert := authority(t)
	_, other := authority(t)
	user := func(tls TLSMode) MailConfig { return MailConfig{TLS: tls, User: "me", Password: "swordfish"} }
	for name, c := range map[string]struct {
		cert       *tls.Certificate
		full       bool
		mechanisms []string
		mail       MailConfig
		want       Failure
	}{
		"no STARTTLS":             {nil, false, []string{"PLAIN"}, user(StartTLS), FailureTLS},
		"STARTTLS of another":     {&other, false, []string{"PLAIN"}, user(StartTLS), FailureTLS},
		"TLS of another":          {&other, true, []string{"PLAIN"}, user(FullTLS), FailureTLS},
		"TLS where there is none": {nil, false, []string{"PLAIN"}, user(FullTLS), FailureTLS},
		"wrong password":          {&cert, false, []string{"PLAIN"}, MailConfig{TLS: StartTLS, User: "me", Password: "hunter2"}, FailureLogin},
		"no known login":          {&cert, false, []string{"CRAM-MD5"}, user(StartTLS), FailureLogin},
	} {
		t.Run(name, func(t *testing.T) {
			office := &postOffice{mechanisms: c.mechanisms}
			c.mail.Server, c.mail.Timeout = office.open(t, c.cert, c.full), 5*time.Second
			cfg := mailConfig(c.mail)
			cfg.Roots = pool
			v := testMailer(t, cfg).deliverMail(context.Background(), testOrder(0), orders.JobMailPlaced, launch)
			if v.failure != c.want || !v.channelFailed || v.resolution != "" {
				t.Errorf("%+v, want %s", v, c.want)
			}
			if got := office.mails(); len(got) != 0 {
				t.Errorf("%d mails went out", len(got))
			}
		})
	}
}

func TestMailServerIsSilentOrAway(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := testMailer(t, mailConfig(MailConfig{Server: silent.Addr().String(), TLS: NoTLS, Timeout: 50 * time.Millisecond}))
	if v := m.deliverMail(context.Background(), testOrder(0), orders.JobMailPlaced, launch); v.failure != FailureTimeout || !v.channelFailed {
		t.Errorf("silent: %+v", v)
	}
	silent.Close()
	if v := m.deliverMail(context.Background(), testOrder(0), orders.JobMailPlaced, launch); v.failure != FailureUnreachable || !v.channelFailed {
		t.Errorf("away: %+v", v)
	}
}

func TestMailIsRefused(t *testing.T) {
	code := func(code, a, b, c int) error {
		return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{a, b, c}, Message: "about <zoe@home.example>"}
	}
	day, week := 25*time.Hour, 7*24*time.Hour
	for name, c := range map[string]struct {
		rcpt, data error
		age        time.Duration
		want       attemptResult
	}{
		"nobody there":       {code(550, 5, 1, 1), nil, 0, attemptResult{resolution: Undeliverable, detail: "reply 550 5.1"}},
		"mailbox closed":     {nil, code(554, 5, 2, 1), 0, attemptResult{resolution: Undeliverable, detail: "reply 554 5.2"}},
		"we may not":         {code(550, 5, 7, 1), nil, 0, attemptResult{failure: FailureRefused, detail: "reply 550 5.7", jobFailed: true, retryAfter: recipientPause}},
		"we may not for day": {code(550, 5, 7, 1), nil, day, attemptResult{resolution: Undeliverable, detail: "reply 550 5.7"}},
		"spam, it thinks":    {nil, code(554, 5, 6, 0), 0, attemptResult{failure: FailureRefused, detail: "reply 554 5.6", jobFailed: true, retryAfter: recipientPause}},
		"grey list":          {code(451, 4, 7, 1), nil, day, attemptResult{failure: FailureBusy, detail: "reply 451 4.7", jobFailed: true, retryAfter: recipientPause}},
		"grey list, a week":  {code(451, 4, 7, 1), nil, week, attemptResult{resolution: Undeliverable, detail: "reply 451 4.7"}},
		"it goes down":       {code(421, 4, 3, 2), nil, week, attemptResult{failure: FailureBusy, channelFailed: true, detail: "reply 421 4.3"}},
	} {
		t.Run(name, func(t *testing.T) {
			office := &postOffice{rcpt: c.rcpt, data: c.data}
			m := testMailer(t, mailConfig(MailConfig{TLS: NoTLS, Server: office.open(t, nil, false)}))
			if v := m.deliverMail(context.Background(), testOrder(0), orders.JobMailPlaced, launch.Add(-c.age)); v != c.want {
				t.Errorf("%+v, want %+v", v, c.want)
			}
			if got := office.mails(); len(got) != 0 {
				t.Errorf("%d mails accepted", len(got))
			}
		})
	}
}

func TestMailIsReadable(t *testing.T) {
	office := &postOffice{}
	m := testMailer(t, mailConfig(MailConfig{TLS: NoTLS, Server: office.open(t, nil, false)}))
	order := testOrder(0)
	for range 2 {
		if v := m.deliverMail(context.Background(), order, orders.JobMailPlaced, launch); v.resolution != ByMail {
			t.Fatalf("%+v", v)
		}
	}
	got := office.mails()
	msg, body := parseMail(t, got[0].text)
	for field, want := range map[string]string{
		"From": `=?utf-8?q?Br=C3=A4mble=27s?= <orders@shop.example>`, "To": "Zoë Łęcka <zoe@home.example>",
		"Subject": "Your order is placed: " + order.ID.String(), "Date": "Wed, 29 Feb 2012 06:01:00 +0000",
		"Message-Id":     "<" + order.ID.String() + ".placed@shop.example>",
		"Auto-Submitted": "auto-generated",
	} {
		decoded, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get(field))
		wanted, _ := new(mime.WordDecoder).DecodeHeader(want)
		if plain := strings.ReplaceAll(decoded, `"`, ""); err != nil || plain != wanted {
			t.Errorf("%s: %q, want %q (%v)", field, plain, wanted, err)
		}
	}
	for _, want := range []string{"Brämble's", order.ID.String(), "Raspberry Pi Model B", "US$35.00", "https://shop.example/r/" + order.ID.String() + "/token"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in the mail:\n%s", want, body)
		}
	}
	if strings.Contains(body, "Zoë") {
		t.Error("the mail repeats what was typed into the form")
	}
	if again, _ := parseMail(t, got[1].text); again.Header.Get("Message-Id") != msg.Header.Get("Message-Id") {
		t.Error("the same mail sent again has another Message-ID")
	}
}

func parseMail(t *testing.T, text string) (*mail.Message, string) {
	t.Helper()
	msg, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if c := msg.Header.Get("Content-Type"); c != "text/plain; charset=UTF-8" {
		t.Errorf("Content-Type %q", c)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(msg.Body))
	if err != nil {
		t.Fatal(err)
	}
	return msg, strings.ReplaceAll(string(body), "\r\n", "\n")
}

func TestRecipientOf(t *testing.T) {
	for email, want := range map[string]string{
		"zoe@home.example":       "zoe@home.example",
		"z.o+e@home.example":     "z.o+e@home.example",
		"zoe@bücher.example":     "zoe@xn--bcher-kva.example",
		"用户@例子.example":          "用户@例子.example",
		"":                       "",
		"zoe":                    "",
		"zoe@":                   "",
		"@home.example":          "",
		"a@b@home.example":       "",
		"zoe@home.example\r\n":   "",
		"zoe@home.example\nBcc:": "",
		"zoe@home.example\r\nRCPT TO:<x@y.example>": "",
		"zoe@home.example> SIZE=1":                  "",
		"zoe@home.example,x@y.example":              "",
		"Zoë <zoe@home.example>":                    "",
		"\"a b\"@home.example":                      "",
		"zoe(x)@home.example":                       "",
		"zoe@home.example\x00":                      "",
		"zoe\u2028@home.example":                    "",
		"zoe@\xff.example":                          "",
	} {
		a, err := recipientOf(orders.Person{Name: "Zoë", Email: email})
		switch {
		case want == "" && !errors.Is(err, errAddress):
			t.Errorf("%q: %v, %v, want errAddress", email, a, err)
		case want != "" && (err != nil || a.Address != want):
			t.Errorf("%q: %v, %v, want %s", email, a, err, want)
		}
	}
}
