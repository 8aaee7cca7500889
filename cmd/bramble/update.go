package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	"bramble/images/cardinit"
	"bramble/images/release"
	"bramble/node/config"
	"bramble/node/console"
	"bramble/node/console/client"
	"bramble/node/rollout"
)

func updateCommand() command {
	return command{
		name:  "update",
		args:  "IMAGE",
		short: "update the rack's cards to a new version, board by board",
		long: `
Update the rack to the version in a card image, board by board, while the others
serve (a rolling A/B update). Each board is drained, receives the new version
beside its old one, starts it, and keeps it only if it then serves. A board that
does not come back falls back to its old version automatically, and the update
stops there. Run the same command again to continue.

A board accepts only a version that was signed by a key under [update] keys of
its bramble.toml or by Bramble's own, and that is not older than its own.

A console accepts commands from another machine only with a password ([console]
password). All boards must have the same password.`,
		examples: `
  bramble update bramble.img --config bramble.toml --dry-run
  bramble update bramble.img --ca rack-ca.pem --console https://192.168.1.5:8080`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			downgrade := fs.String("allow-downgrade", "", "let boards go back to an older version: sign it so with the private update key in this `FILE`")
			dry := fs.Bool("dry-run", false, "print the plan without changing anything")
			return func(ctx context.Context, w world, args []string) error {
				if len(args) != 1 {
					return usagef("name one card image, made by \"bramble image\"")
				}
				warnExposed(w, new(config.Config), args[0])
				version, err := release.Open(args[0])
				if err == nil && *downgrade != "" {
					version.Signature, err = allowDowngrade(w, version.Signature, *downgrade)
				}
				if err != nil {
					return err
				}
				ctx, stop := untilSignal(ctx, func() { os.Exit(exitInterrupted) })
				defer stop()
				return connect(w, func(first *client.Client) error {
					return updateRack(ctx, w, first, version, *dry)
				})
			}
		},
	}
}

func updateRack(ctx context.Context, w world, first *client.Client, version release.Release, dry bool) error {
	boards, err := cardBoards(ctx, first, version)
	if err != nil {
		return err
	}
	roll := rollout.Roll{
		Version: version.Version, Timeouts: rollout.DefaultTimeouts(), DryRun: dry,
		Logf: func(format string, args ...any) { fmt.Fprintf(w.out, format+"\n", args...) },
	}
	for _, b := range boards {
		defer b.client.Close()
		roll.Boards = append(roll.Boards, b)
		if err := b.checkAccepted(ctx); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	return roll.Run(ctx)
}

// cardBoard is one board of the update, reached by its own console.
type cardBoard struct {
	name    string
	client  *client.Client
	release release.Release
}

// allowDowngrade signs a version again, as one that may replace all those released until now.
func allowDowngrade(w world, signed, keyFile string) (string, error) {
	private, err := readSecret(w, keyFile)
	if err != nil {
		return "", fmt.Errorf("the private update key: %w", err)
	}
	s, err := cardinit.ParseStatement(signed) // an image that is not signed does not tell its age
	if err != nil {
		return "", err
	}
	s.Replaces = time.Now().UTC()
	return s.Sign(private)
}

// checkAccepted asks the board for its word before anything changes.
func (c *cardBoard) checkAccepted(ctx context.Context) error {
	card, err := c.fetchCard(ctx)
	if err != nil || card.Version == c.release.Version {
		return nil // the rollout reports the error, or sends nothing
	}
	err = c.client.Card(ctx, http.MethodPost, "check", c.release.SlotManifest, nil)
	if errors.Is(err, client.ErrNotConsole) && c.release.Signature == "" { // a 404 without JSON
		return nil
	} else if errors.Is(err, client.ErrNotConsole) {
		return fmt.Errorf("its program may be from before updates were signed, and then needs an image without a signature first: %w", err)
	}
	return err
}

// cardBoards returns the boards of the rack that a console sees. A dead board is
// an error: with a second board out of service there may be no majority.
func cardBoards(ctx context.Context, first *client.Client, r release.Release) ([]*cardBoard, error) {
	s, err := first.Rack(ctx)
	if err != nil {
		return nil, err
	}
	var boards []*cardBoard
	for _, b := range s.Boards {
		switch {
		case b.State == "left":
			continue
		case b.State == "dead":
			return nil, fmt.Errorf("%s is dead: revive it first, so that no two boards are missing at once", b.Name)
		}
		own := first
		if !b.Self {
			if own, err = first.At(b.ConsoleURL); err != nil {
				return nil, fmt.Errorf("%s: %w", b.Name, err)
			}
		}
		boards = append(boards, &cardBoard{name: b.Name, client: own, release: r})
	}
	return boards, nil
}

func (c *cardBoard) Name() string { return c.name }

func (c *cardBoard) fetchCard(ctx context.Context) (cardinit.CardState, error) {
	var s cardinit.CardState
	err := c.client.Card(ctx, http.MethodGet, "slots", nil, &s)
	if errors.Is(err, console.ErrUnknownBoard) { // 404: the console has no card
		err = rollout.ErrNoCard
	}
	return s, err
}

// State combines the states of the card, of its board and of the rack.
func (c *cardBoard) State(ctx context.Context) (rollout.State, error) {
	card, err := c.fetchCard(ctx)
	if err != nil {
		return rollout.State{}, err
	}
	s := rollout.State{Version: card.Version, Trial: card.Trial, Leading: card.Leading, Drained: card.Drained}
	if s.Ready, s.NotReadyReason, err = c.client.Ready(ctx); err != nil {
		return rollout.State{}, err
	}
	rack, err := c.client.Rack(ctx)
	if err != nil {
		return rollout.State{}, err
	}
	i := slices.IndexFunc(rack.Boards, func(o console.BoardView) bool { return o.Self })
	if s.Ready && i >= 0 && slices.Contains(rack.Boards[i].Faults, "no-majority") {
		s.Ready, s.NotReadyReason = false, "its ledger has no majority"
	}
	return s, nil
}

func (c *cardBoard) Drain(ctx context.Context, undo bool) error {
	return c.client.Drain(ctx, c.name, undo)
}

// releaseForIdleSlot returns the release for the slot that the board does not run.
func (c *cardBoard) releaseForIdleSlot(ctx context.Context) (release.Release, error) {
	card, err := c.fetchCard(ctx)
	if err != nil {
		return release.Release{}, err
	}
	return c.release.ForSlot(cardinit.OtherSlot(card.Running)), nil
}

func (c *cardBoard) Send(ctx context.Context) error {
	r, err := c.releaseForIdleSlot(ctx)
	if err != nil {
		return err
	}
	var begun cardinit.BeginReply
	if err := c.client.Card(ctx, http.MethodPost, "begin", r.SlotManifest, &begun); err != nil {
		return err
	}
	for _, f := range begun.Missing {
		content, ok := r.Content[f.Name]
		if !ok {
			return errors.New("the board requests " + f.Name + ", which the image does not contain")
		}
		query := url.Values{"size": {strconv.FormatInt(f.Size, 10)}, "sha256": {f.SHA256}}
		if err := c.client.PutCard(ctx, "file/"+url.PathEscape(f.Name)+"?"+query.Encode(), content); err != nil {
			return err
		}
	}
	return nil
}

func (c *cardBoard) StartTrial(ctx context.Context) error {
	r, err := c.releaseForIdleSlot(ctx)
	if err != nil {
		return err
	}
	return c.client.Card(ctx, http.MethodPost, "try", r.SlotManifest, nil)
}

func (c *cardBoard) Commit(ctx context.Context) error {
	return c.client.Card(ctx, http.MethodPost, "commit", cardinit.SlotManifest{Version: c.release.Version}, nil)
}
