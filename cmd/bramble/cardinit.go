package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"bramble/gpio"
	"bramble/images/cardinit"
	"bramble/node"
	"bramble/node/config"
	"bramble/node/origin"
	"bramble/node/shop"
)

func cardInitCommand() command {
	return command{
		name:  "card-init",
		short: "set up and supervise the board on a card; the image runs it",
		long: `
Set up a machine that was started from the card image (network, data partition,
clock), then run "bramble node" and supervise it. Only the image should run it:
it mounts, repairs and, if necessary, formats the card's second partition.`,
		flags: func(*flagSet) runner {
			return func(ctx context.Context, w world, _ []string) error {
				if !cardinit.OnCard(cardinit.CardPaths()) {
					return usagef("this machine was not started from the card image, and card-init would write over its card; to run a board here: bramble node")
				}
				return runCardInit(ctx, w)
			}
		},
	}
}

func runCardInit(ctx context.Context, w world) error {
	system, err := cardinit.NewSystem()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the program itself: %w", err)
	}
	ctx, stop := untilSignal(ctx, func() {}) // the init bounds the time that the board takes to stop
	defer stop()
	paths := cardinit.CardPaths()
	return cardinit.Run(ctx, cardinit.Config{
		System: system, Paths: paths, Version: programVersion(), Console: w.out,
		Program: self, Args: []string{"node", "--card", "--config"},
		Load: func(file, serial string) (cardinit.CardSettings, error) { return cardSettings(paths, file, serial) },
		ShowAlarm: func(ctx context.Context) { // on the lamps of the default settings: the board's own cannot be read
			showUntilDone(ctx, config.Default().Panel, gpio.Input{Health: gpio.Starting, Faults: gpio.NewFaultSet(gpio.BadSettings)})
		},
	})
}

// cardSettings reads the settings file for one card. Its error may be a
// *cardinit.SettingsError; the settings then hold the network settings that could be read.
func cardSettings(p cardinit.Paths, file, serial string) (cardinit.CardSettings, error) {
	d, err := config.LoadCard(file, serial, p.Data)
	if err != nil {
		var s cardinit.CardSettings
		if network, unknown := config.LoadNetwork(file, serial); unknown == nil {
			s = networkSettings(network, serial)
		}
		return s, settingsError(err)
	}
	cfg := d.Config
	s := networkSettings(cfg.Network, serial)
	if !d.Written["board.name"] {
		cfg.Board.Name = s.HostName
	}
	if own := filepath.Join(p.Boot, "shop", ownCatalogue); cfg.Shop.Catalogue == "" {
		if _, err := os.Stat(own); err == nil {
			cfg.Shop.Catalogue = own
		}
	}
	if cfg.Shop.Catalogue != "" && origin.WantsShop(cfg) {
		// The board's program would exit because of it, and the reason would not show.
		if _, err := shop.Load(cfg.Shop.Catalogue); err != nil {
			return s, &cardinit.SettingsError{Mistakes: []cardinit.Mistake{{Text: "the catalogue: " + err.Error()}}}
		}
	}
	s.UpdateKeys = cfg.Update.Keys
	s.Board, s.ProgramConfig = cfg.Board.Name, cfg.TOML(config.PrintOptions{Secrets: true})
	s.HealthURL = localURL(cfg.Console.Listen) + "/healthz"
	if _, port, err := net.SplitHostPort(cfg.HTTP.Listen); err == nil {
		s.Port, _ = strconv.Atoi(port) // checked with the settings
	}
	s.ShowAtRest = func(ctx context.Context) { showAtRest(ctx, cfg.Panel) }
	return s, nil
}

// networkSettings converts network settings, which have been checked.
func networkSettings(n config.NetworkSettings, serial string) cardinit.CardSettings {
	s := cardinit.CardSettings{HostName: n.HostName, NTP: n.NTP}
	if s.HostName == "" {
		s.HostName = cardinit.DefaultHostName(serial)
	}
	if n.Address != "" {
		s.Address = netip.MustParsePrefix(n.Address)
	}
	if n.Gateway != "" {
		s.Gateway = netip.MustParseAddr(n.Gateway)
	}
	for _, server := range n.DNS {
		s.DNS = append(s.DNS, netip.MustParseAddr(server))
	}
	return s
}

// settingsError converts a settings error for the card's page.
func settingsError(err error) error {
	all, ok := errors.AsType[*config.Errors](err)
	if !ok {
		return err
	}
	broken := new(cardinit.SettingsError)
	for _, e := range all.List {
		shown := *e
		shown.File, shown.Line = "bramble.toml", 0
		broken.Mistakes = append(broken.Mistakes, cardinit.Mistake{Line: e.Line, Column: e.Column, Text: shown.Error()})
	}
	if all.More > 0 {
		broken.Mistakes = append(broken.Mistakes, cardinit.Mistake{Text: fmt.Sprintf("and %d more", all.More)})
	}
	return broken
}

// showAtRest shows on the header's lamps that the board is safe to unplug, until ctx
// ends: the kernel took their pins back from the board's program when that ended. The
// board's own LED flashes by the kernel's timer, which needs no program.
func showAtRest(ctx context.Context, cfg config.PanelSettings) {
	cfg.KernelLED = config.PinNone
	showUntilDone(ctx, cfg, gpio.Input{Health: gpio.Drained})
}

// showUntilDone plays one pattern on the lamps that can be opened, until ctx ends. It
// ignores the button.
func showUntilDone(ctx context.Context, cfg config.PanelSettings, in gpio.Input) {
	cfg.ButtonPin = config.PinNone
	opened, _ := node.OpenPanel(cfg) // the board's program has reported any missing lamp
	panel := gpio.NewPanel(gpio.Config{Clock: gpio.NewWallClock(nil), Drivers: opened.Drivers, OnFailure: func(error) {}})
	panel.Update(in)
	panel.Run(ctx)
	_ = panel.Close() // a lamp that cannot be closed stays as it is
}

// ownCard is the card of the board that this process runs on.
type ownCard struct {
	paths cardinit.Paths
	slots *cardinit.Slots
}

func openCard(updateKeys []string) (node.CardHost, error) {
	system, err := cardinit.NewSystem()
	if err != nil {
		return nil, err
	}
	paths := cardinit.CardPaths()
	slots, err := cardinit.OpenSlots(system, paths, updateKeys)
	if err != nil {
		return nil, err
	}
	_ = slots.ReplaceSettings(nil) // until that is possible, the complete copy is used
	return ownCard{paths, slots}, nil
}

func (o ownCard) ClockIsSet() bool { return cardinit.ClockIsSet(o.paths) }

func (o ownCard) TimeServers() int { return cardinit.TimeServers(o.paths) }

func (o ownCard) LostData() string { return cardinit.LostData(o.paths) }

func (o ownCard) Notices() []string { return cardinit.Notices(o.paths) }

func (o ownCard) API(board node.BoardHandle) http.Handler { return o.slots.Handler(board) }
