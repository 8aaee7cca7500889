// Package client is a client of a console's API: it reads the state and the events of
// a rack, and purges, drains and locates. The commands status, purge and drain use it,
// and the lab for its boards. Every request has a time limit.
package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"bramble/node/certs"
	"bramble/node/console"
)

const (
	dialTimeout   = 2 * time.Second  // on a LAN a running console answers at once
	readTimeout   = 5 * time.Second  // for a request that only reads
	actionTimeout = 35 * time.Second // for an action: the console itself gives up after 30 s
	sendTimeout   = 11 * time.Minute // for a file: the board gives up earlier
	slotTimeout   = 2 * time.Minute  // for a request for which a card reads a whole slot
	maxReply      = 8 << 20          // bytes; hundreds of boards fit
	maxIdle       = 30 * time.Second // of an unused connection
)

// Kinds of error besides those of package console, which an error of the console also
// matches.
var (
	ErrUnreachable = errors.New("no console answers") // nothing listens, or it does not answer in time
	ErrRefused     = errors.New("not let in")         // the password is missing or wrong, or the client may not steer
	ErrNotConsole  = errors.New("not a console")      // another program answers there
	ErrNotProven   = errors.New("not proven")         // what is there does not prove that it is of the rack; it was sent nothing
)

// Error is a failed request. Its text is one line about what to do next.
type Error struct {
	Text string
	Kind error // one of the kinds above, or of package console's
	Err  error // of the network, or nil
}

func (e *Error) Error() string { return e.Text }

func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Access is what a client shows a console, and by what it recognises one.
type Access struct {
	User   string // account; "": the console's own
	Secret string // password, or a token, which begins with console.TokenPrefix; "": none
	Device string // device cookie for User, so that a guesser at the same address locks nobody out; "": none
	// Rack has the CA by which a console proves that it is of the rack. nil: the system's CAs
	// prove its host name.
	Rack   *x509.CertPool
	Socket string // path of a board's unix socket, which has priority over an address
}

// Client is a client of one console. Several goroutines may use it at once.
type Client struct {
	base   string // without a slash at the end
	access Access
	http   *http.Client
}

// New returns a client of the console at base, such as "https://board-1.local:8080". Plain
// http is possible only to this machine.
func New(base string, access Access) (*Client, error) {
	if access.Socket != "" {
		base = "http://localhost" // only the socket's user is at its ends
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" ||
		u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		hint := `"https://board-1.local:8080"`
		if strings.Contains(base, "[") && strings.Contains(base, "%") {
			hint = `"https://[fe80::1%25eth0]:8080", with %25 before the zone`
		}
		return nil, fmt.Errorf("%q is not the address of a console; write one such as %s", base, hint)
	}
	if u.Scheme == "http" && !isLoopback(u) {
		return nil, fmt.Errorf("%q is plain http, which the network can read; write \"https://%s\"", base, u.Host)
	}
	return &Client{
		base: (&url.URL{Scheme: u.Scheme, Host: u.Host}).String(), access: access, // with the zone of an address as it was written
		http: &http.Client{
			Transport: access.Transport(),
			// A console never redirects, and no other server may get the password.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// isLoopback reports whether a URL names this machine, whatever its resolver says.
func isLoopback(u *url.URL) bool {
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback() || u.Hostname() == "localhost"
}

// Transport returns a transport that connects only to consoles that a recognises.
func (a Access) Transport() *http.Transport {
	dialer := net.Dialer{Timeout: dialTimeout}
	t := &http.Transport{
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: readTimeout,
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     maxIdle,
	}
	if a.Rack != nil {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: a.Rack, ServerName: certs.RackHost}
	}
	if a.Socket != "" {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", a.Socket)
		}
	}
	return t
}

// RequireProof returns an error if what is sent can go to another than the rack whose CA the client has: over
// plain http, any program of this machine can listen. It is for what carries secrets or people.
func (c *Client) RequireProof() error {
	if c.access.Rack == nil || c.access.Socket != "" || strings.HasPrefix(c.base, "https:") {
		return nil
	}
	return &Error{Text: c.base + " is plain http, where nothing proves who answers, and this sends secrets: name a console by https, or run the command on the board itself, as its user", Kind: ErrNotProven}
}

// Close closes unused connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Rack returns the rack as the console sees it.
func (c *Client) Rack(ctx context.Context) (console.RackView, error) {
	var s console.RackView
	return s, c.callJSON(ctx, http.MethodGet, "/api/v1/rack", nil, &s)
}

// Purge purges something from the rack.
func (c *Client) Purge(ctx context.Context, p console.PurgeRequest) (console.PurgeResult, error) {
	var res console.PurgeResult
	return res, c.callJSON(ctx, http.MethodPost, "/api/v1/purge", p, &res)
}

// Drain takes a board out of service or, with undo, puts it back.
func (c *Client) Drain(ctx context.Context, board string, undo bool) error {
	return c.callJSON(ctx, http.MethodPost, "/api/v1/drain", map[string]any{"board": board, "undo": undo}, nil)
}

// Locate makes a board blink so that it can be found or, with undo, stops that.
func (c *Client) Locate(ctx context.Context, board string, undo bool) error {
	return c.callJSON(ctx, http.MethodPost, "/api/v1/locate", map[string]any{"board": board, "undo": undo}, nil)
}

// Shop sends a request to the console's shop: path is the part after console.ShopPath,
// with its query; in and out are JSON, or nil.
func (c *Client) Shop(ctx context.Context, method, path string, in, out any) error {
	return c.callJSON(ctx, method, console.ShopPath+path, in, out)
}

// Card sends a request to the card of the console's board: path is the part after
// console.CardPath; in and out are JSON, or nil.
func (c *Client) Card(ctx context.Context, method, path string, in, out any) error {
	limit := readTimeout
	if method != http.MethodGet {
		limit = slotTimeout
	}
	return c.callWithin(ctx, limit, method, console.CardPath+path, in, out)
}

// Secrets sends a request about the board's secrets; in and out are JSON, or nil.
func (c *Client) Secrets(ctx context.Context, method string, in, out any) error {
	return c.callJSON(ctx, method, console.SecretsPath, in, out)
}

// PutCard sends a file to the card of the console's board.
func (c *Client) PutCard(ctx context.Context, path string, content []byte) error {
	return c.putContent(ctx, sendTimeout, console.CardPath+path, content)
}

func (c *Client) putContent(ctx context.Context, limit time.Duration, path string, content []byte) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	resp, err := c.sendRequest(ctx, http.MethodPut, path, "", content)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return c.responseError(resp)
}

// ShopStream requests a stream from the console's shop; path is as in Shop. The caller closes
// it, and bounds its time with ctx.
func (c *Client) ShopStream(ctx context.Context, path string) (io.ReadCloser, error) {
	return c.openStream(ctx, console.ShopPath+path)
}

func (c *Client) openStream(ctx context.Context, path string) (io.ReadCloser, error) {
	resp, err := c.sendJSON(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	if err := c.responseError(resp); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp.Body, nil
}

// PutShop sends content to the console's shop; path is as in Shop.
func (c *Client) PutShop(ctx context.Context, path string, content []byte) error {
	return c.putContent(ctx, actionTimeout, console.ShopPath+path, content)
}

// At returns a client of the console at an address that this console named. What is there must
// prove that it is of the rack, unless both are on this machine.
func (c *Client) At(base string) (*Client, error) {
	access := c.access
	access.Socket = ""
	own, err := url.Parse(c.base)
	u, bad := url.Parse(base)
	switch {
	case err == nil && bad == nil && own.Scheme == "http" && u.Scheme == "http" && isLoopback(u):
		if c.access.Socket != "" || u.Host != own.Host {
			access.Secret, access.Device = "", "" // nobody typed this address, and another user may listen there
		}
	case bad == nil && access.Rack != nil:
		u.Scheme = "https"
		base = u.String()
	default:
		return nil, &Error{Text: c.base + " names the console " + base + ", and without the rack's CA nothing proves that it is one: add --config or --ca", Kind: ErrNotProven}
	}
	return New(base, access)
}

// Ready reports whether the board itself serves; if not, reason is why, in one
// sentence.
func (c *Client) Ready(ctx context.Context) (ok bool, reason string, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	resp, err := c.sendJSON(ctx, http.MethodGet, "/readyz", nil)
	if err != nil {
		return false, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return false, "", c.unreachableError(err)
	}
	return resp.StatusCode == http.StatusOK, strings.TrimSpace(string(text)), nil
}

// callJSON sends a JSON request and decodes a JSON reply into out, if out is not nil.
func (c *Client) callJSON(ctx context.Context, method, path string, in, out any) error {
	limit := readTimeout
	if method != http.MethodGet {
		limit = actionTimeout
	}
	return c.callWithin(ctx, limit, method, path, in, out)
}

// callWithin is callJSON with a time limit.
func (c *Client) callWithin(ctx context.Context, limit time.Duration, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	resp, err := c.sendJSON(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := c.responseError(resp); err != nil {
		return err
	}
	if out == nil {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil:
		return c.unreachableError(err)
	case len(data) > maxReply:
		return &Error{Text: fmt.Sprintf("%s answers with more than %d bytes, which no console does", c.base, maxReply), Kind: ErrNotConsole}
	}
	if err := json.Unmarshal(data, out); err != nil {
		return &Error{Text: "what answers at " + c.base + " is not a Bramble console: is the port right?", Kind: ErrNotConsole, Err: err}
	}
	return nil
}

func (c *Client) sendJSON(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, fmt.Errorf("writing the request: %w", err)
		}
	}
	contentType := ""
	if method != http.MethodGet {
		contentType = "application/json" // also without a body: the console takes no other POST
	}
	return c.sendRequest(ctx, method, path, contentType, body)
}

func (c *Client) sendRequest(ctx context.Context, method, path, contentType string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	switch {
	case c.access.Secret == "" || c.access.Socket != "":
	case strings.HasPrefix(c.access.Secret, console.TokenPrefix):
		req.Header.Set("Authorization", "Bearer "+c.access.Secret)
	default:
		req.SetBasicAuth(cmp.Or(c.access.User, console.UserName), c.access.Secret)
		if c.access.Device != "" {
			req.AddCookie(&http.Cookie{Name: console.DeviceCookie, Value: c.access.Device})
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachableError(err)
	}
	return resp, nil
}

func (c *Client) unreachableError(err error) error {
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
		return &Error{Text: "what answers at " + c.base + " does not prove that it is of this rack, so it was sent nothing: " +
			"is the address right, and the rack key or --ca the rack's present one?", Kind: ErrNotProven, Err: err}
	}
	why := "is the lab or the board running?"
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		why = "it did not reply in time; is the board busy, paused or unplugged?"
	}
	return &Error{
		Text: "no console answers at " + c.base + ": " + why + " Name another with --console URL",
		Kind: ErrUnreachable, Err: err,
	}
}

// responseError returns the error in a reply that is not a success.
func (c *Client) responseError(resp *http.Response) error {
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return nil
	}
	var reply struct {
		Error string `json:"error"`
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return c.unreachableError(err)
	}
	if json.Unmarshal(data, &reply) != nil || reply.Error == "" {
		return &Error{Text: fmt.Sprintf("what answers at %s (%s) is not a Bramble console: is the port right, and does it speak https?", c.base, resp.Status), Kind: ErrNotConsole}
	}
	e := &Error{Text: reply.Error}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		e.Kind = ErrRefused
		e.Text = "the console at " + c.base + " requires its password: set BRAMBLE_CONSOLE_PASSWORD, or name the board's file with --config"
		if strings.HasPrefix(c.base, "http:") && c.access.Secret == "" {
			e.Text = "the console at " + c.base + " requires its password, and plain http gets one only if you type the address: set BRAMBLE_CONSOLE_PASSWORD, and add --console " + c.base
		}
		if c.access.Secret != "" {
			e.Text = "the console at " + c.base + " rejects this password: it is the one under [console] in the board's file"
		}
	case http.StatusForbidden, http.StatusTooManyRequests, http.StatusMisdirectedRequest:
		e.Kind = ErrRefused
	case http.StatusNotFound:
		e.Kind = console.ErrUnknownBoard
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		e.Kind = console.ErrUnavailable
	default:
		e.Kind = console.ErrBadRequest
		if resp.StatusCode >= 500 {
			e.Kind = console.ErrUnavailable
		}
	}
	return e
}
