package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"bramble/node/backup"
	"bramble/node/console"
	"bramble/node/console/client"
	"bramble/node/orderservice"
)

const (
	// restorePatience limits the attempts of one step of a restore, and restorePause is the
	// pause between them: a rack that changes its leader takes seconds, a new one a minute.
	restorePatience = 2 * time.Minute
	restorePause    = time.Second
	restoreNews     = 20 * time.Second // between two lines about what a restore waits for
	cancelPatience  = 15 * time.Second // for dropping what was sent; the rack drops it itself after ten minutes
	boardsPatience  = 10 * time.Minute // for the other boards; a first Pi takes under a minute for 100,000 orders
)

func restoreCommand() command {
	return command{
		name:  "restore",
		args:  "FILE",
		short: "restore a backup into an empty rack",
		long: `
Restore a backup into an empty rack: one without orders and operators' changes.
The rack may have other boards, other names, another number of them and another
rack key. References, receipts and their links, limits, waiting lists and draws
stay valid.

The file is checked completely before anything is sent. Then the orders go
through the ledger, part by part, and appear on all boards at once. Until then
the rack is as it was, whatever happens; run the command again in that case.
While a restore runs, or for ten minutes after it was cut off, the rack accepts
no orders and no operators' changes; bramble status shows it.

The catalogue is not in a backup: copy it from the old rack before. Stop the old
rack first: two racks that sell the same stock sell it twice. Orders that were
handed on after the backup are handed on again, with the same webhook-id.
A restore brings back people who were erased after the backup. Ballots that
were drawn after it are drawn again, with other winners. The command warns of
both.`,
		examples: `
  bramble restore orders.age --identity key.txt
  bramble restore orders.age --passphrase-file passphrase.txt
  bramble restore --cancel`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			keys := addKeyFlags(fs)
			acceptClock := fs.Bool("accept-clock", false, "restore although the backup's clock is ahead of the rack's")
			cancel := fs.Bool("cancel", false, "end a restore that was cut off, so that the rack accepts orders at once")
			operator := operatorFlag(fs)
			return func(ctx context.Context, w world, args []string) error {
				if len(args) != 1 && !*cancel || len(args) != 0 && *cancel {
					return usagef("name one backup")
				}
				if *cancel {
					if err := fs.refuseBeside("cancel", "accept-clock", "identity", "passphrase-file"); err != nil {
						return err
					}
				}
				return connect(w, func(c *client.Client) error {
					if err := c.RequireProof(); err != nil {
						return err
					}
					r := restoration{c: c, w: w, request: orderservice.RestoreRequest{Operator: operator(w), OpID: orderservice.NewOpID(), AcceptClock: *acceptClock}}
					if *cancel {
						text, err := r.sendStep(ctx, "cancel")
						if err != nil {
							return err
						}
						fmt.Fprintln(w.out, strings.Join(wrapText(text, helpWidth), "\n"))
						return nil
					}
					keyring, err := keys.open(w)
					if err != nil {
						return err
					}
					return r.restoreFile(ctx, w, args[0], keyring)
				})
			}
		},
	}
}

type restoration struct {
	c       *client.Client
	w       world
	request orderservice.RestoreRequest // without the action
}

// restoreFile checks a backup, sends it, and waits until all boards have it.
func (r *restoration) restoreFile(ctx context.Context, w world, path string, keyring *backup.Keyring) error {
	sum := sha256.New()
	h, err := openBackup(path, keyring, func(h backup.Header, book io.Reader) error {
		counted := &io.LimitedReader{R: io.TeeReader(book, sum), N: math.MaxInt64} // for the count alone
		err := backup.CheckBook(h, counted)
		r.request.Chunks = int((math.MaxInt64 - counted.N + backup.ChunkSize - 1) / backup.ChunkSize)
		return err
	})
	if err != nil {
		return err
	}
	if err := printBackup(w, h, false, "The backup is complete."); err != nil {
		return err
	}
	r.request.Header, r.request.Sum = &h, hex.EncodeToString(sum.Sum(nil))
	note, err := r.sendStep(ctx, "begin")
	if err != nil {
		return explainEnd(err, "Nothing was restored: the order book is as it was")
	}
	if note != "" {
		printNote(w, note)
	}
	r.request.Header, r.request.Chunks, r.request.Sum, r.request.AcceptClock = nil, 0, "", false
	if _, err := openBackup(path, keyring, func(_ backup.Header, book io.Reader) error { return r.sendChunks(ctx, book) }); err != nil {
		return explainEnd(errors.Join(err, r.cancelStep(ctx)), "Nothing was restored: the order book is as it was")
	}
	text, err := r.sendStep(ctx, "finish")
	if err != nil {
		return explainEnd(err, "The restore may have taken effect: then bramble orders list shows the orders, and a second one is refused")
	}
	for line := range strings.Lines(text) {
		fmt.Fprintln(w.out, strings.Join(wrapText(line, helpWidth), "\n"))
	}
	return r.awaitBoards(ctx, w)
}

func (r *restoration) sendChunks(ctx context.Context, book io.Reader) error {
	chunk := make([]byte, backup.ChunkSize)
	for number := 0; ; number++ {
		n, err := io.ReadFull(book, chunk)
		if n == 0 && err == io.EOF {
			return nil
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			return err
		}
		path := fmt.Sprintf("restore/%d/%d", r.request.OpID, number)
		if err := r.retryStep(ctx, func() error { return r.c.PutShop(ctx, path, chunk[:n]) }); err != nil {
			return fmt.Errorf("sending part %d: %w", number+1, err)
		}
	}
}

// sendStep sends a step and returns the console's sentence about it.
func (r *restoration) sendStep(ctx context.Context, action string) (string, error) {
	request := r.request
	request.Action = action
	var done orderservice.OperatorResult
	err := r.retryStep(ctx, func() error { return r.c.Shop(ctx, http.MethodPost, "restore", request, &done) })
	return done.Text, err
}

// cancelStep drops what was sent. Its context outlives one that has ended.
func (r *restoration) cancelStep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelPatience)
	defer cancel()
	r.request.Action = "cancel"
	return r.c.Shop(ctx, http.MethodPost, "restore", r.request, nil)
}

// explainEnd adds to an error for lack of boards how the rack is, and what to do next.
func explainEnd(err error, outcome string) error {
	if !isWorthRetry(err) {
		return err
	}
	return fmt.Errorf("%w\n%s. When enough boards run (bramble ledger status), run the command again. "+
		"Until then, parts that were sent may keep orders out, for ten minutes", err, outcome)
}

// isWorthRetry reports whether a step failed only because too few boards answered.
func isWorthRetry(err error) bool {
	return errors.Is(err, client.ErrUnreachable) || errors.Is(err, console.ErrUnavailable)
}

// retryStep calls send until it succeeds or fails for good, for at most restorePatience, and says every
// restoreNews what it waits for. Every step can be sent again.
func (r *restoration) retryStep(ctx context.Context, send func() error) error {
	for began, told := time.Now(), (time.Time{}); ; {
		err := send()
		left := restorePatience - time.Since(began)
		if !isWorthRetry(err) || left < 0 {
			return err
		}
		if time.Since(told) > restoreNews {
			told = time.Now()
			var s orderservice.LedgerState
			reason := err.Error()
			if r.c.Shop(ctx, http.MethodGet, "ledger", nil, &s) == nil && s.Trouble != "" {
				reason = s.Trouble
			}
			printNote(r.w, fmt.Sprintf("The restore waits, for %v more: %s.", left.Round(time.Second), strings.TrimSuffix(reason, ".")))
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(restorePause):
		}
	}
}

// awaitBoards waits until every board that is up has applied the restore. The boards compare
// the digests of their books in each entry, and one that differs halts.
func (r *restoration) awaitBoards(ctx context.Context, w world) error {
	ctx, cancel := context.WithTimeout(ctx, boardsPatience)
	defer cancel()
	var first orderservice.LedgerState
	if err := r.retryStep(ctx, func() error { return r.c.Shop(ctx, http.MethodGet, "ledger", nil, &first) }); err != nil {
		return err
	}
	view, err := r.c.Rack(ctx)
	if err != nil {
		return err
	}
	complete := 0
	for _, board := range view.Boards {
		if board.State == "dead" || board.State == "left" {
			continue
		}
		own := r.c
		if board.Name != view.Observer {
			if own, err = r.c.At(board.ConsoleURL); err != nil {
				printNote(w, board.Name+" has no console, so it was not asked; it copies the orders from the others.")
				continue
			}
			defer own.Close()
		}
		switch has, err := awaitBoard(ctx, own, first.Applied, func(note string) { printNote(w, board.Name+note) }); {
		case errors.Is(err, client.ErrUnreachable), errors.Is(err, client.ErrRefused):
			printNote(w, "The console of "+board.Name+" cannot be reached from here, so it was not asked; it copies the orders from the others.")
		case err != nil:
			return fmt.Errorf("%s: %w", board.Name, err)
		case has.Halted != "":
			return fmt.Errorf("%s has halted: %s", board.Name, has.Halted)
		default:
			complete++
		}
	}
	fmt.Fprintf(w.out, "%s the same order book.\n", pluralize(complete, "board has", "boards have"))
	return nil
}

// awaitBoard waits until a board has applied an entry, or has halted, and says every restoreNews how far it is.
func awaitBoard(ctx context.Context, c *client.Client, applied uint64, tell func(string)) (has orderservice.LedgerState, err error) {
	for told := time.Now(); ; {
		if time.Since(told) > restoreNews {
			told = time.Now()
			tell(strings.TrimSuffix(fmt.Sprintf(" has applied %d of %d entries; %s", has.Applied, applied, has.Trouble), "; "))
		}
		if err := c.Shop(ctx, http.MethodGet, "ledger", nil, &has); err != nil || has.Applied >= applied || has.Halted != "" {
			return has, err
		}
		select {
		case <-ctx.Done():
			return has, fmt.Errorf("the restore is done, but this board has not applied it within %v: see bramble ledger status there: %w", boardsPatience, ctx.Err())
		case <-time.After(restorePause):
		}
	}
}
