package front

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"

	"bramble/node/front/admission"
)

// maxBodyPrefix limits the part of a request's body, in bytes, that is read before the
// request gets a permit: a shop's forms are shorter. So a client that is slow to send
// holds a connection, but no permit.
const maxBodyPrefix = 16 << 10

type prefixedBody struct {
	io.Reader
	io.Closer
}

// receiveBody reads the beginning of a request's body, and all of it if that is short,
// and returns the request with that body; isComplete is false if there is more to come.
// It fails with os.ErrDeadlineExceeded if the client was too slow, and otherwise if what
// it sent is not a valid body (RFC 9112 §7.1, §8).
//
// The request is a copy: net/http decides by the body that it made itself whether the
// bytes after a broken one may be read as another request.
func (f *Front) receiveBody(w http.ResponseWriter, r *http.Request, from *handoff) (got *http.Request, isComplete bool, err error) {
	if from != nil {
		from.conn.http2.awaitingClient.Add(1)
		defer from.conn.http2.awaitingClient.Add(-1)
		defer f.gate.SilentClients().Remove(&from.conn.waitEntry)
	}
	if r.Body == nil || r.Body == http.NoBody || f.cfg.BodyRate <= 0 {
		return r, true, nil
	}
	body := admission.NewPacedBody(r.Body, admission.BodyPace{
		MaxLag: f.gate.BodyLag(f.cfg.BodyTimeout), Rate: f.cfg.BodyRate, Total: f.cfg.WriteTimeout,
	}, http.NewResponseController(w).SetReadDeadline)
	prefix, err := io.ReadAll(io.LimitReader(body, maxBodyPrefix))
	if err != nil {
		return nil, false, err
	}
	got = r.WithContext(r.Context())
	got.Body = prefixedBody{io.MultiReader(bytes.NewReader(prefix), body), body}
	return got, len(prefix) < maxBodyPrefix, nil
}

// mustCloseAfter reports whether a request ends its connection, because another parser
// could see the request's end elsewhere. A request in chunks may have had a length too,
// and HTTP/1.0 knows no chunks, neither of which net/http reports: either way the
// connection must close (RFC 9112 §6.1). Browsers send neither.
func mustCloseAfter(r *http.Request) bool {
	return r.ProtoMajor == 1 && (len(r.TransferEncoding) > 0 || r.ProtoMinor == 0)
}

var errNoLength = errors.New("a request of HTTP/1.0 without the length of its body")

// lacksLength reports whether nobody can know where a request's body ends: HTTP/1.0 must say how long it is
// (RFC 1945 §8.3), because it knows no chunks (RFC 9112 §6.1). net/http would take it for empty.
func lacksLength(r *http.Request) bool {
	isForm := r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch
	return isForm && !r.ProtoAtLeast(1, 1) && r.Header.Get("Content-Length") == ""
}

// refuseBody answers a request whose body was too slow or broken.
func refuseBody(w http.ResponseWriter, r *http.Request, err error) {
	status, page := http.StatusBadRequest, brokenPage
	if errors.Is(err, os.ErrDeadlineExceeded) {
		status, page = http.StatusRequestTimeout, tooSlowPage
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Connection", "close")
	limitRefusal(w, r)
	w.WriteHeader(status)
	// An error here leaves nothing to do: the client has gone.
	_, _ = io.WriteString(w, page)
}

const brokenPage = `<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Not complete</title>` +
	`<h1>That did not arrive complete</h1><p>Nothing that you sent was saved. Go back and send it again.</p>` + "</html>"

const tooSlowPage = `<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Too slow</title>` +
	`<h1>That took too long</h1><p>Nothing that you sent was saved. Go back and send it again.</p>` + "</html>"
