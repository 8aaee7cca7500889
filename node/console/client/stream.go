package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"bramble/node/console"
)

const maxLine = 8 << 20 // bounds one line of the event stream, in bytes

// errSilent ends a stream that has sent nothing for too long.
var errSilent = errors.New("the stream sent nothing for too long")

// Message is one message of the event stream; one of the fields is set.
type Message struct {
	// Rack is the rack as the console sees it now. Its Ring is the last one received:
	// the console sends the ring only when it has changed.
	Rack  *console.RackView
	Event *console.Event
}

// Follow calls received with each message of the console's event stream until ctx or
// the stream ends, and returns why. The first messages are the rack and the latest
// events, which the caller may know already. A stream without a message for the time
// silence is given up: a console sends one each second.
func (c *Client) Follow(ctx context.Context, silence time.Duration, received func(Message)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watch.Stop()

	stream, err := c.openStream(ctx, "/api/v1/events")
	if err != nil {
		return err
	}
	defer stream.Close()
	lines := bufio.NewScanner(stream)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	var name string
	var ring []console.RingArc
	for lines.Scan() {
		watch.Reset(silence)
		line := lines.Bytes()
		if after, ok := bytes.CutPrefix(line, []byte("event: ")); ok {
			name = string(after)
			continue
		}
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok {
			continue
		}
		var m Message
		switch name {
		case "rack":
			m.Rack = new(console.RackView)
			err = json.Unmarshal(data, m.Rack)
			if m.Rack.Ring == nil {
				m.Rack.Ring = ring
			}
			ring = m.Rack.Ring
		case "event":
			m.Event = new(console.Event)
			err = json.Unmarshal(data, m.Event)
		default:
			continue
		}
		if err != nil {
			return &Error{Text: "what answers at " + c.base + " is not a Bramble console: is the port right?", Kind: ErrNotConsole, Err: err}
		}
		received(m)
	}
	if err := lines.Err(); err != nil {
		return c.unreachableError(err)
	}
	return c.unreachableError(context.Cause(ctx))
}
