package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"bramble/node/orders/draw"
	"bramble/node/orderservice"
)

func drawCommand() command {
	return command{
		name:  "draw",
		args:  "verify FILE | show PRODUCT | make PRODUCT",
		short: "draw a ballot, and redo a draw from its published list",
		long: `
A ballot's draw follows from a secret that was committed to before it opened,
the list of entries, and public randomness if the ballot wants some:

  verify FILE    redoes the draw of a published file ("-" for standard input);
                 no rack is asked
  show PRODUCT   prints the published file of a draw that was made
  make PRODUCT   gives a closed ballot the randomness that it waits for, with
                 --dice "3 6 1 ..." as rolled, ten dice or more, or with
                 --drand "drand quicknet ROUND SIGNATURE"`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			dice := fs.String("dice", "", "make: what was `ROLLED`, as digits")
			drand := fs.String("drand", "", "make: a `ROUND` of the drand beacon after the close")
			who := operatorFlag(fs)
			return func(ctx context.Context, w world, args []string) error {
				if len(args) != 2 {
					return usagef("say verify FILE, show PRODUCT or make PRODUCT")
				}
				if args[0] == "verify" {
					return verifyDraw(w, args[1])
				}
				o := orderservice.OperatorCommand{Action: "draw", Operator: who(w), Product: args[1], Text: *dice + *drand, Kind: string(draw.Dice)}
				if *drand != "" {
					o.Kind = string(draw.Drand)
				}
				switch {
				case args[0] != "show" && args[0] != "make":
					return usagef("%q is none of verify, show and make", args[0])
				case args[0] == "make" && (*dice == "") == (*drand == ""):
					return usagef("make wants one of --dice and --drand")
				}
				c, err := connect(w)
				if err != nil {
					return err
				}
				defer c.Close()
				if args[0] == "make" {
					return submitOrder(ctx, w, c, o)
				}
				var f draw.File
				if err := c.Shop(ctx, http.MethodGet, "draw/"+url.PathEscape(args[1]), nil, &f); err != nil {
					return err
				}
				out := json.NewEncoder(w.out)
				out.SetIndent("", "  ")
				return out.Encode(f)
			}
		},
	}
}

// verifyDraw redoes a draw from its file alone.
func verifyDraw(w world, path string) error {
	in := w.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("opening the draw's file: %w", err)
		}
		defer f.Close()
		in = f
	}
	f, err := draw.Read(in)
	if err == nil {
		err = draw.Verify(f)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(w.out, "The draw holds: %s, %d drawn, from %d units.\n", pluralize(len(f.Entries), "reference"), len(f.Winners), f.Stock)
	fmt.Fprintf(w.out, "Compare the commitment with the one published before it opened:\n%s\n", f.Commitment)
	switch f.Public.Kind {
	case draw.Dice:
		fmt.Fprintf(w.out, "and these dice with those that were rolled:\n%s\n", f.Public.Text)
	case draw.Drand:
		fmt.Fprintf(w.out, "The round is the beacon's own, made after the close:\n%s\n", f.Public.Text)
	}
	return nil
}
