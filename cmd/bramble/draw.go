package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"bramble/node/console/client"
	"bramble/node/orders/draw"
	"bramble/node/orderservice"
)

const pollInterval = 250 * time.Millisecond // interval at which a command asks whether what it waits for is done

func drawCommand() command {
	return command{
		name:  "draw",
		args:  "verify FILE | show PRODUCT | make PRODUCT",
		short: "draw a ballot, and verify a published draw",
		long: `
Draw a ballot, and verify a published draw. A draw follows from a secret that
was committed to before the ballot opened, from the list of entries and, if the
ballot uses it, from public randomness:

  verify FILE    repeat the draw of a published file and check its result
                 ("-" is standard input); it needs no rack. Exit status 0: the
                 draw is correct; 1: it is not; 3: nothing is drawn yet
  show PRODUCT   print the published file of a draw that was made
  make PRODUCT   supply a closed ballot's randomness: --dice with the digits as
                 rolled, as many as were promised, one die after another without
                 blanks. The promised round of drand is fetched from --from, or
                 given with --drand. Then wait for the draw to end

The product's page about the draw shows what is promised and, from the close on,
the hash of the list of entries. Roll the dice after that.

A draw takes some seconds for each thousand entries. While it is in progress,
show, and make after --wait, print how far it is and exit with status 3.`,
		examples: `
  bramble draw verify draw.json
  bramble draw show berry
  bramble draw make berry --dice 36144251632254611364
  bramble draw make berry
  bramble draw make berry --drand "drand quicknet ROUND SIGNATURE"`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			dice := fs.String("dice", "", "make: the `DIGITS` as rolled, from 1 to 6, without blanks")
			drand := fs.String("drand", "", "make: the `RECORD` of the promised drand round, in quotes: drand quicknet ROUND SIGNATURE")
			from := fs.String("from", drandRelay, "make: fetch the round of drand from the relay at this `URL`")
			wait := fs.Duration("wait", time.Minute, "make: wait at most this `DURATION` for the draw to end")
			operator := operatorFlag(fs)
			return func(ctx context.Context, w world, args []string) error {
				if len(args) != 2 {
					return usagef("name an action: verify FILE, show PRODUCT or make PRODUCT")
				}
				if err := fs.refuseForeign(args[0]); err != nil {
					return err
				}
				if args[0] == "verify" {
					return verifyDraw(w, args[1])
				}
				o := orderservice.OperatorCommand{Action: "draw", Operator: operator(w), Product: args[1], Text: *dice + *drand, Kind: string(draw.Drand)}
				if *dice != "" {
					o.Kind = string(draw.Dice)
				}
				switch {
				case args[0] != "show" && args[0] != "make":
					return usagef("unknown action %q: it must be verify, show or make", args[0])
				case *dice != "" && *drand != "":
					return usagef("make needs either --dice or --drand")
				}
				return connect(w, func(c *client.Client) error {
					if args[0] == "show" {
						return showDraw(ctx, w, c, args[1])
					}
					var err error
					if o.Text == "" {
						if o.Text, err = fetchPromised(ctx, c, *from, args[1]); err != nil {
							return err
						}
					}
					if err := submitCommand(ctx, w, c, o, false); err != nil {
						return err
					}
					return awaitDraw(ctx, w, c, args[1], *wait)
				})
			}
		},
	}
}

func fetchPromised(ctx context.Context, c *client.Client, relay, product string) (string, error) {
	var sale orderservice.SaleJSON
	if err := c.Shop(ctx, http.MethodGet, "sales/"+url.PathEscape(product), nil, &sale); err != nil {
		return "", err
	}
	if sale.Draw == nil || sale.Draw.Promised.Kind != draw.Drand {
		return "", usagef("%s is no ballot with a round of drand to fetch; give dice with --dice", product)
	}
	return fetchRound(ctx, http.DefaultTransport, relay, sale.Draw.Promised.Round)
}

func showDraw(ctx context.Context, w world, c *client.Client, product string) error {
	if err := awaitDraw(ctx, world{out: io.Discard}, c, product, 0); errors.As(err, new(*pendingError)) {
		return err
	}
	var f draw.File
	if err := c.Shop(ctx, http.MethodGet, "draw/"+url.PathEscape(product), nil, &f); err != nil {
		return err
	}
	out := json.NewEncoder(w.out)
	out.SetIndent("", "  ")
	return out.Encode(f)
}

// awaitDraw waits until a draw that is in progress has ended, at most for the time limit,
// and prints the result. The error is a pendingError if it has not ended.
func awaitDraw(ctx context.Context, w world, c *client.Client, product string, limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; pauseFor(ctx, pollInterval) {
		var sale orderservice.SaleJSON
		if err := c.Shop(ctx, http.MethodGet, "sales/"+url.PathEscape(product), nil, &sale); err != nil {
			return cmp.Or(ctx.Err(), err)
		}
		switch {
		case sale.Draw != nil && sale.Draw.State == orderservice.Drawn:
			fmt.Fprintf(w.out, "%s. \"bramble draw show %s\" prints the draw.\n", sale.Draw.Describe(product), product)
			return nil
		case sale.Draw == nil || sale.Draw.State != orderservice.DrawInProgress:
			return nil
		case !time.Now().Before(deadline):
			return &pendingError{sale.Draw.Describe(product) + ": run \"bramble draw show " + product + "\" later"}
		}
	}
}

// verifyDraw repeats a draw from its file alone.
func verifyDraw(w world, path string) error {
	in, err := openInput(w, path, "the draw's file")
	if err != nil {
		return err
	}
	defer in.Close()
	f, err := draw.Read(in)
	if err == nil {
		err = draw.Verify(f)
	}
	if errors.Is(err, draw.ErrUndrawn) {
		return &pendingError{err.Error()}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(w.out, "The draw is correct: %s, %d drawn, from %d units.\n", pluralize(len(f.Entries), "entry", "entries"), len(f.Winners), f.Stock)
	fmt.Fprintf(w.out, "Compare this with what was published before the close: the product, the kind of\ndraw, the commitment and the hash of the promise:\n%s, which closed at %s\n%s\n%s\n%s\n",
		f.Product, f.Closes.Format(time.RFC3339), f.Promised, f.Commitment, f.PromiseHash())
	fmt.Fprintf(w.out, "Compare the list's hash with the one published at %s:\n%s\n", f.Fixed().Format(time.RFC3339), f.List)
	switch f.Public.Kind {
	case draw.Dice:
		fmt.Fprintf(w.out, "Compare these dice with those that were rolled after that:\n%s\n", f.Public.Text)
	case draw.Drand:
		fmt.Fprintf(w.out, "The beacon signed this round, the only one for this close:\n%s\n", f.Public.Text)
	}
	for _, doubt := range draw.Doubts(f) {
		fmt.Fprintln(w.out, strings.Join(wrapText(doubt, helpWidth), "\n"))
	}
	return nil
}

const (
	drandRelay   = "https://api.drand.sh" // where League of Entropy publishes the rounds
	roundTimeout = 15 * time.Second
	maxRound     = 4 << 10 // bytes; a round has about 350
)

// fetchRound returns the text of a drand round from a relay, which it does not need to trust: the round is signed.
func fetchRound(ctx context.Context, transport http.RoundTripper, relay string, round uint64) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	address := fmt.Sprintf("%s/%s/public/%d", strings.TrimSuffix(relay, "/"), draw.QuicknetChain, round)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil || request.URL.Scheme != "https" {
		return "", usagef("--from needs an address that begins with https://")
	}
	var got struct {
		Round     uint64
		Signature string
	}
	reply, err := transport.RoundTrip(request)
	if err == nil {
		defer reply.Body.Close()
		if err = json.NewDecoder(io.LimitReader(reply.Body, maxRound)).Decode(&got); reply.StatusCode != http.StatusOK {
			err = errors.New(reply.Status)
		}
	}
	public := draw.Public{Kind: draw.Drand, Text: fmt.Sprintf("drand quicknet %d %s", got.Round, got.Signature)}
	if err == nil {
		err = cmp.Or((draw.Promise{Kind: draw.Drand, Round: round}).Accepts(public), public.Genuine())
	}
	if err != nil {
		return "", fmt.Errorf("fetching round %d of drand, which is made at %s, from %s: %w; another relay can be given with --from, or the round with --drand",
			round, draw.RoundTime(round).Format(time.RFC3339), address, err)
	}
	return public.Text, nil
}
