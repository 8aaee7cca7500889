package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"golang.org/x/sync/semaphore"
)

// maxConcurrentCalls limits the boards that are called at the same time.
const maxConcurrentCalls = 16

// callAll calls the boards concurrently and returns the responses that arrived in
// time. It leaves this board out.
func callAll[T any](ctx context.Context, l *Ledger, boards []raftServer, kind string, request any) []T {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timing.Call)
	defer cancel()
	body, err := json.Marshal(request)
	if err != nil {
		return nil
	}
	responses := make(chan *T, len(boards)) // nil: none
	slots := semaphore.NewWeighted(maxConcurrentCalls)
	called := 0
	for _, s := range boards {
		if s.Name == l.cfg.Name {
			continue
		}
		called++
		go func() {
			if slots.Acquire(ctx, 1) != nil {
				responses <- nil
				return
			}
			defer slots.Release(1)
			sent := l.clock.monotonic()
			response, err := callEncoded[T](ctx, l, s.Name, kind, body)
			if err != nil {
				responses <- nil
				return
			}
			if timed, ok := any(&response).(interface {
				noteArrival(received, roundTrip time.Duration)
			}); ok {
				received := l.clock.monotonic()
				timed.noteArrival(received, received-sent)
			}
			responses <- &response
		}()
	}
	var arrived []T
	for range called {
		select {
		case response := <-responses:
			if response != nil {
				arrived = append(arrived, *response)
			}
		case <-ctx.Done():
			return arrived
		}
	}
	return arrived
}

// call sends one request, waits at most for timeout and decodes the response.
func call[T any](ctx context.Context, l *Ledger, timeout time.Duration, board, kind string, request any) (response T, err error) {
	body, err := json.Marshal(request)
	if err != nil {
		return response, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return callEncoded[T](ctx, l, board, kind, body)
}

func callEncoded[T any](ctx context.Context, l *Ledger, board, kind string, body []byte) (response T, err error) {
	b, err := l.cfg.Transport.Call(ctx, board, kind, body)
	if err != nil {
		return response, err
	}
	return readJSON[T](b)
}

// handleJSON decodes a request, calls its handler and encodes the response.
func handleJSON[Request, Response any](body []byte, handle func(Request) (Response, error)) ([]byte, error) {
	request, err := readJSON[Request](body)
	if err != nil {
		return nil, err
	}
	response, err := handle(request)
	if err != nil {
		return nil, err
	}
	return json.Marshal(response)
}

// readJSON decodes one of the small requests and responses.
func readJSON[T any](b []byte) (v T, err error) {
	if len(b) > MaxCallBytes {
		return v, errors.New("too long")
	}
	err = json.Unmarshal(b, &v)
	return v, err
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
