package admission

import (
	"errors"
	"io"
	"time"
)

// BodyPace is the pace at which a request's body must arrive.
type BodyPace struct {
	MaxLag time.Duration // how far it may be behind the rate
	Rate   int           // bytes per second
	Total  time.Duration // for all of it, at whatever rate
}

// deadline returns the time by which more must have arrived of a body that began at a
// given time and of which got bytes have arrived.
func (p BodyPace) deadline(began time.Time, got int64) time.Time {
	// Hours of bytes do not fit into a Duration's product; seconds and the rest do.
	earned := time.Duration(got/int64(p.Rate))*time.Second + time.Duration(got%int64(p.Rate))*time.Second/time.Duration(p.Rate)
	return began.Add(min(p.MaxLag+earned, p.Total))
}

// pacedBody is a body that must arrive at its pace. It inspects no byte: it moves the
// connection's deadline.
type pacedBody struct {
	io.ReadCloser
	pace        BodyPace
	began       time.Time
	got         int64
	setDeadline func(time.Time) error // for reads
}

// NewPacedBody returns a body that must arrive at a pace from now on. setDeadline sets
// its connection's deadline for reads. A read fails with os.ErrDeadlineExceeded if the
// body was too slow.
func NewPacedBody(body io.ReadCloser, pace BodyPace, setDeadline func(time.Time) error) io.ReadCloser {
	return &pacedBody{ReadCloser: body, pace: pace, began: time.Now(), setDeadline: setDeadline}
}

func (b *pacedBody) Read(p []byte) (int, error) {
	if err := b.setDeadline(b.pace.deadline(b.began, b.got)); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	b.got += int64(n)
	if errors.Is(err, io.EOF) {
		// From now on net/http watches whether the client leaves, without a time limit.
		if err := b.setDeadline(time.Time{}); err != nil {
			return n, err
		}
	}
	return n, err
}
