package front

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// maxBodyPrefix is how much of a request's body, in bytes, is taken in before the
// request gets a place: any form of a shop, whole. So a client that is slow to
// send holds a connection, and nobody's place.
const maxBodyPrefix = 16 << 10

// bodyPace is how fast a request's body has to come.
type bodyPace struct {
	maxLag time.Duration // how far it may be behind the rate
	rate   int           // bytes a second
	total  time.Duration // for all of it, at whatever rate
}

// deadline is when more must have come of a body that began to come at a given time
// and of which some bytes are there.
func (p bodyPace) deadline(began time.Time, got int64) time.Time {
	// Hours of bytes do not fit into a Duration's product, seconds and the rest do.
	earned := time.Duration(got/int64(p.rate))*time.Second + time.Duration(got%int64(p.rate))*time.Second/time.Duration(p.rate)
	return began.Add(min(p.maxLag+earned, p.total))
}

// pacedBody is a body that must come at its pace. It looks at no byte: it moves the
// connection's deadline.
type pacedBody struct {
	io.ReadCloser
	pace        bodyPace
	began       time.Time
	got         int64
	setDeadline func(time.Time) error // the deadline for reads
}

// Read reads what has come; an error that is os.ErrDeadlineExceeded says that it
// came too slowly.
func (b *pacedBody) Read(p []byte) (int, error) {
	if err := b.setDeadline(b.pace.deadline(b.began, b.got)); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	b.got += int64(n)
	if errors.Is(err, io.EOF) {
		// net/http listens from now on whether the client goes away, without end.
		if err := b.setDeadline(time.Time{}); err != nil {
			return n, err
		}
	}
	return n, err
}

// bufferedBody is a body whose beginning has been taken in.
type bufferedBody struct {
	io.Reader
	io.Closer
}

// receiveBody takes in the beginning of a request's body, and all of it if that is
// short, and gives the request that has it; whole is false if there is more to come.
// It fails with os.ErrDeadlineExceeded if the client was too slow, and otherwise if
// what it sent is no body (RFC 9112 §7.1, §8).
//
// The request is a copy: net/http decides by the body that it made itself whether
// what comes behind a broken one may be read as another request.
func (f *Front) receiveBody(w http.ResponseWriter, r *http.Request, from *handoff) (got *http.Request, whole bool, err error) {
	if from != nil {
		from.conn.awaitingClient.Add(1)
		defer from.conn.awaitingClient.Add(-1)
		defer f.gate.setSilent(from, false)
	}
	if r.Body == nil || r.Body == http.NoBody || f.cfg.BodyRate <= 0 {
		return r, true, nil
	}
	body := &pacedBody{
		ReadCloser: r.Body, began: time.Now(), setDeadline: http.NewResponseController(w).SetReadDeadline,
		pace: bodyPace{
			maxLag: scaleTimeout(f.cfg.BodyTimeout, minBodyLag, f.gate.handedOff.Load(), f.gate.maxHandedOff()),
			rate:   f.cfg.BodyRate, total: f.cfg.WriteTimeout,
		},
	}
	first, err := io.ReadAll(io.LimitReader(body, maxBodyPrefix))
	if err != nil {
		return nil, false, err
	}
	got = r.WithContext(r.Context())
	got.Body = bufferedBody{io.MultiReader(bytes.NewReader(first), body), body}
	return got, len(first) < maxBodyPrefix, nil
}

// mustCloseAfter reports whether a request ends its connection, because another reader of
// it could see its end elsewhere. With chunks a length may have been said too, and to
// HTTP/1.0 they are nothing, which net/http does not tell: either way the connection
// must close (RFC 9112 §6.1). Browsers do neither.
func mustCloseAfter(r *http.Request) bool {
	return r.ProtoMajor == 1 && (len(r.TransferEncoding) > 0 || r.ProtoMinor == 0)
}

// refuseBody tells a client that its request took too long to come, or was broken.
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

const brokenPage = `<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Not understood</title>` +
	`<h1>That came broken</h1><p>What you sent did not arrive whole. Nothing was taken from it: go back and send it again.</p>` + "</html>"

const tooSlowPage = `<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Too slow</title>` +
	`<h1>It took too long</h1><p>What you sent did not arrive in time. Nothing was taken from it: go back and send it again.</p>` + "</html>"
