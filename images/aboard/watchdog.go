package aboard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// watchdogTimeout is how long the machine waits for a sign of life. The first
	// boards' watchdog counts to 15 s.
	watchdogTimeout = 15 * time.Second
	// petEvery is how often it gets one while all is well.
	petEvery = 3 * time.Second
	// healthWait is how long the board's program may take for an answer: it may
	// be busy with a crowd.
	healthWait = 2 * time.Second
	// graceAfterStart is how long a program that has just started may be silent.
	graceAfterStart = 90 * time.Second
	// graceAfterHealth is how long one that was well may be silent: with the
	// watchdog's own time this is when a hung board is reset.
	graceAfterHealth = 45 * time.Second
)

// vigil decides whether the watchdog is petted. Only a board whose program
// answers, or may not have come that far, is alive.
type vigil struct {
	since time.Time // when silence began to count
	grace time.Duration
}

// alive is told whether the program has answered, and started is whether it was
// started since the last call; it returns whether the watchdog is to be petted.
func (v *vigil) alive(now time.Time, answered, started bool) bool {
	switch {
	case answered:
		v.since, v.grace = now, graceAfterHealth
	case started:
		v.since, v.grace = now, graceAfterStart
	}
	return now.Sub(v.since) < v.grace
}

// health asks the board's program whether it lives.
type health struct {
	url    string
	client *http.Client
}

func newHealth(url string) *health {
	return &health{url: url, client: &http.Client{Timeout: healthWait, Transport: &http.Transport{DisableKeepAlives: true}}}
}

func (h *health) ask(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url, nil)
	if err != nil {
		return err
	}
	resp, err := h.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", h.url, resp.Status)
	}
	return nil
}

// watch pets the watchdog until ctx ends. ask is the program's answer, starts
// counts how often it was started. It stops the watchdog unless keep, asked at
// the end, says that it is to go on: over a start into another slot.
func watch(ctx context.Context, dog io.WriteCloser, ask func(context.Context) error, starts func() int, keep func() bool, say func(string, ...any)) error {
	v := vigil{since: time.Now(), grace: graceAfterStart}
	tick := time.NewTicker(petEvery)
	defer tick.Stop()
	known, starved := starts(), false
	for {
		n := starts()
		err := ask(ctx)
		if ctx.Err() == nil {
			if v.alive(time.Now(), err == nil, n != known) {
				if _, err := dog.Write([]byte{0}); err != nil {
					return errors.Join(fmt.Errorf("petting the watchdog: %w", err), dog.Close())
				}
			} else if !starved {
				starved = true
				say("the board does not answer (%v): the watchdog resets the machine", err)
			}
			known = n
		}
		select {
		case <-ctx.Done():
			if keep() {
				_, err := dog.Write([]byte{0})
				return err // left open on purpose: the next kernel takes it over
			}
			_, err := dog.Write([]byte{'V'})
			return errors.Join(err, dog.Close())
		case <-tick.C:
		}
	}
}
