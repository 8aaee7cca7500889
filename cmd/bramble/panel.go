package main

import (
	"context"
	"fmt"
	"io"

	"bramble/gpio"
	"bramble/node"
	"bramble/node/config"
)

func panelCommand() command {
	return command{
		name:  "panel",
		args:  "card | demo | test",
		short: "print the lamps' wall card, demonstrate and test the lamps",
		long: `
Explain, demonstrate and test a board's lamps (see gpio/README.md):

  card    print the wall card that explains the lamps, as an HTML page
  demo    show every signal with its name, on the board's own lamps or, if it
          has none, in the terminal
  test    light one lamp after the other and print its name, then test
          the button

Stop the board's own program first: it holds the lamps.`,
		examples: `
  bramble panel card > card.html
  bramble panel demo --terminal
  bramble panel test --config bramble.toml`,
		flags: func(fs *flagSet) runner {
			file := fs.String("config", "", "the board's configuration `FILE`, for its pins under [panel]")
			terminal := fs.Bool("terminal", false, "demo: use the terminal even if the board has lamps")
			return func(ctx context.Context, w world, args []string) error {
				action, _, err := fs.chooseAction(args, "card, demo or test", map[string]int{"card": 0, "demo": 0, "test": 0})
				if err != nil {
					return err
				}
				cfg := config.Default().Panel
				if *file != "" {
					doc, err := config.LoadFile(*file)
					if err != nil {
						return err
					}
					cfg = doc.Config.Panel
				}
				switch action {
				case "card":
					return panelCard(w)
				case "demo":
					return panelDemo(ctx, w, cfg, *terminal)
				}
				return panelTest(ctx, w, cfg)
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

// panelDemo plays on the first panel of the board, or in the terminal.
func panelDemo(ctx context.Context, w world, cfg config.PanelSettings, terminal bool) (err error) {
	ctx, stop := untilSignal(ctx, func() {})
	defer stop()
	clock := gpio.NewWallClock(nil)
	if !terminal {
		lamps, _, closeAll := openLamps(w, cfg)
		defer closeAll()
		if len(lamps) > 0 {
			return ignoreInterrupt(ctx, gpio.Demo(ctx, clock, lamps[0], linePrinter(w.out)))
		}
	}
	fmt.Fprintln(w.out, "All signs of the lamps: health on the left, then the bar. Ctrl-C ends it.")
	t := gpio.NewTerminal(w.out, gpio.DefaultLamps)
	defer t.Close()
	return ignoreInterrupt(ctx, gpio.Demo(ctx, clock, t, func(name string) {
		// If the terminal is gone, the lamps' own error reports it.
		_ = t.Caption(name)
	}))
}

func panelTest(ctx context.Context, w world, cfg config.PanelSettings) error {
	ctx, stop := untilSignal(ctx, func() {})
	defer stop()
	lamps, button, closeAll := openLamps(w, cfg)
	defer closeAll()
	if len(lamps) == 0 {
		return fmt.Errorf("no lamps to test: name their pins under [panel], or run this on a Pi")
	}
	for i, d := range lamps {
		key := button
		if i > 0 {
			key = nil // the button is tested once
		}
		fmt.Fprintln(w.out, d)
		if err := gpio.CheckWiring(ctx, gpio.NewWallClock(nil), d, key, linePrinter(w.out)); err != nil {
			return ignoreInterrupt(ctx, err)
		}
	}
	return nil
}

// openLamps opens the lamps and the button, and says which of them it cannot open.
func openLamps(w world, cfg config.PanelSettings) (lamps []gpio.Driver, button gpio.Contact, closeAll func()) {
	opened, missing := node.OpenPanel(cfg)
	if missing != nil {
		printError(w, missing.Error())
	}
	return opened.Drivers, opened.Contact, func() {
		for _, d := range opened.Drivers {
			d.Close()
		}
		if opened.Contact != nil {
			opened.Contact.Close()
		}
	}
}

func linePrinter(out io.Writer) func(string) {
	return func(text string) { fmt.Fprintln(out, text) }
}

// ignoreInterrupt returns nil if Ctrl-C ended the command.
func ignoreInterrupt(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
