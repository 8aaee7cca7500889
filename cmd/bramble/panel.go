package main

import (
	"context"
	"fmt"
	"io"

	"bramble/gpio"
	"bramble/node"
	"bramble/node/config"
	"bramble/node/console/client"
)

func panelCommand() command {
	return command{
		name:  "panel",
		args:  "card | demo | test",
		short: "the lamps: their wall card, what they can say, and a test",
		long: `
What a board's lamps say, and whether they are wired right (gpio/README.md):

  card    prints the wall card of their language, a page to be printed
  demo    plays all that they can say, with its name, on the board's own lamps,
          or in the terminal where there are none
  test    lights one lamp after the other and says which it should be, then
          listens to the button

Stop the board's own program first: it holds the lamps.`,
		flags: func(fs *flagSet) runner {
			file := fs.String("config", "", "the board's `FILE`, for its pins under [panel]")
			terminal := fs.Bool("terminal", false, "demo: in the terminal even where there are lamps")
			return func(ctx context.Context, w world, args []string) error {
				if len(args) != 1 {
					return usagef("say card, demo or test")
				}
				cfg := config.Default().Panel
				if *file != "" {
					doc, err := config.LoadFile(*file)
					if err != nil {
						return err
					}
					cfg = doc.Config.Panel
				}
				switch args[0] {
				case "card":
					return panelCard(w)
				case "demo":
					return panelDemo(ctx, w, cfg, *terminal)
				case "test":
					return panelTest(ctx, w, cfg)
				}
				return usagef("%q is none of card, demo and test", args[0])
			}
		},
	}
}

func panelCard(w world) error {
	card, err := gpio.WallCard(gpio.DefaultLamps)
	if err != nil {
		return err
	}
	_, err = w.out.Write(card)
	return err
}

// panelDemo plays on the first panel that there is.
func panelDemo(ctx context.Context, w world, cfg config.PanelSettings, terminal bool) (err error) {
	ctx, stop := untilSignal(ctx, func() {})
	defer stop()
	clock := gpio.NewWallClock(nil)
	if !terminal {
		opened, missing := node.OpenPanel(cfg)
		if missing != nil {
			printError(w, missing.Error())
		}
		if opened.Contact != nil {
			defer opened.Contact.Close()
		}
		for _, d := range opened.Drivers {
			defer d.Close()
		}
		if len(opened.Drivers) > 0 {
			return ignoreInterrupt(ctx, gpio.Demo(ctx, clock, opened.Drivers[0], linePrinter(w.out)))
		}
	}
	t := gpio.NewTerminal(w.out, gpio.DefaultLamps)
	defer t.Close()
	return ignoreInterrupt(ctx, gpio.Demo(ctx, clock, t, func(name string) {
		// A terminal that is gone is told of by the lamps' own error.
		_ = t.Caption(name)
	}))
}

func panelTest(ctx context.Context, w world, cfg config.PanelSettings) error {
	ctx, stop := untilSignal(ctx, func() {})
	defer stop()
	opened, missing := node.OpenPanel(cfg)
	if missing != nil {
		printError(w, missing.Error())
	}
	if len(opened.Drivers) == 0 {
		return fmt.Errorf("there are no lamps to test: name their pins under [panel], or run this on a Pi")
	}
	if opened.Contact != nil {
		defer opened.Contact.Close()
	}
	for _, d := range opened.Drivers {
		defer d.Close()
	}
	for i, d := range opened.Drivers {
		key := opened.Contact
		if i > 0 {
			key = nil // once is enough
		}
		fmt.Fprintln(w.out, d)
		if err := gpio.CheckWiring(ctx, gpio.NewWallClock(nil), d, key, linePrinter(w.out)); err != nil {
			return ignoreInterrupt(ctx, err)
		}
	}
	return nil
}

func linePrinter(out io.Writer) func(string) {
	return func(text string) { fmt.Fprintln(out, text) }
}

// ignoreInterrupt forgives what Ctrl-C ended.
func ignoreInterrupt(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func locateCommand() command {
	return command{
		name:  "locate",
		args:  "BOARD",
		short: "have a board blink, to find it in the rack",
		long: `
Has the health lamp of a board blink fast until it is found: a short press of
its button ends that, or --off does.`,
		flags: func(fs *flagSet) runner {
			connect := addConsoleFlags(fs)
			off := fs.Bool("off", false, "blink no more")
			return func(ctx context.Context, w world, args []string) error {
				text := "%[1]s blinks until its button is pressed, or bramble locate --off %[1]s.\n"
				if *off {
					text = "%s blinks no more.\n"
				}
				return requestForBoard(w, connect, args, text, func(c *client.Client, board string) error {
					return c.Locate(ctx, board, *off)
				})
			}
		},
	}
}
