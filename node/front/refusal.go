package front

import (
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// maxRefusals limits the connections that are sent a refusal at a time; a client
	// beyond that too is closed without one.
	maxRefusals = 64
	// refusalTimeout limits the time that sending one may take.
	refusalTimeout = 500 * time.Millisecond
)

// refusalPage is for people: it fits a phone, and says when to try again.
const refusalPage = `<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Busy</title>` +
	`<h1>One moment</h1><p>More people are here than this shop can hold. Try again in 5 seconds.</p>` + "</html>"

// refusalFields precede it. 5 s: about as long as people take to reload a page, and long
// enough for a crowd to thin.
const refusalFields = "HTTP/1.1 503 Service Unavailable\r\n" +
	"Content-Type: text/html; charset=utf-8\r\n" +
	"Content-Length: 203\r\n" +
	"Cache-Control: no-store\r\n" +
	"Retry-After: 5\r\n"

// Whole replies, ready to send: the last of a connection, and one after which it stays
// open, for that costs less than a new connection. A reply to HEAD has no page.
const (
	refusalToHEAD     = refusalFields + "Connection: close\r\n\r\n"
	refusal           = refusalToHEAD + refusalPage
	refusalOpenToHEAD = refusalFields + "\r\n"
	refusalOpen       = refusalOpenToHEAD + refusalPage
)

// refusalFor returns the refusal of a HEAD or of another request, the last of its
// connection or not.
func refusalFor(isHEAD, isLast bool) string {
	switch {
	case isHEAD && isLast:
		return refusalToHEAD
	case isHEAD:
		return refusalOpenToHEAD
	case isLast:
		return refusal
	}
	return refusalOpen
}

// writeRefusal sends a refusal. If hasUnread, it reads the client's request first:
// closing a connection with unread bytes resets it, and the client would lose the reply.
func writeRefusal(conn net.Conn, hasUnread bool) {
	if conn.SetDeadline(time.Now().Add(refusalTimeout)) != nil {
		return
	}
	if hasUnread {
		var request [4 << 10]byte
		if _, err := conn.Read(request[:]); err != nil {
			return
		}
	}
	// An error here leaves nothing to do: the client has gone.
	_, _ = conn.Write([]byte(refusal))
}

// refuseViaNetHTTP sends the refusal of a request that net/http has read.
func refuseViaNetHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Retry-After", "5")
	if r.ProtoMajor == 1 { // a new connection with HTTP/2 would cost a handshake
		h.Set("Connection", "close")
	}
	limitRefusal(w, r)
	w.WriteHeader(http.StatusServiceUnavailable)
	// An error here leaves nothing to do: the client has gone.
	_, _ = io.WriteString(w, refusalPage)
}
