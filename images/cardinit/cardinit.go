package cardinit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	// deviceWait is how long the card may take to show up.
	deviceWait = 15 * time.Second
	// networkWait is how long the start waits for an address. The board starts
	// without one, and takes it when it comes.
	networkWait = leaseWait + 10*time.Second
	// fatOptions: names as Debian's kernel has them built for.
	fatOptions = "fmask=0022,dmask=0022,errors=remount-ro"
)

// Settings are what a card's file says to aboard.
type Settings struct {
	HostName string
	Address  netip.Prefix // the zero Prefix: DHCP
	Gateway  netip.Addr
	DNS      []netip.Addr
	NTP      []string
	Board    string // the board's name in its rack
	File     []byte // the settings of the board's program, resolved
	Health   string // URL that answers 200 while the program lives
	Port     int    // of its public pages
	// AtRest shows on the lamps that the card names that it is safe to unplug the
	// board, until ctx ends. nil: there are none.
	AtRest func(ctx context.Context)
}

// Config is what aboard is given.
type Config struct {
	Machine Machine
	Paths   Paths
	Version string
	Console io.Writer
	// Program and Args run the board; the file with its settings is appended.
	Program string
	Args    []string
	// Load reads the settings file as the card with a serial number has it. Its
	// error may be a *Broken; then the Settings are what can be known of the
	// network all the same.
	Load func(file, serial string) (Settings, error)
	// Alarm shows on the lamps that the settings cannot be read, until ctx ends.
	Alarm func(ctx context.Context)
	// AskTime asks a time server how far this clock is off; nil asks by SNTP.
	AskTime func(server string) (time.Duration, error)
	// Page is where the page of mistakes is shown, "" for port 80 of every address.
	Page string
}

// aboard is one run.
type aboard struct {
	Config
	words  Words
	serial string
	log    *logbook
	net    *network
	clock  *clock
	data   data

	guardian *guardian // nil: no watchdog
}

// Run makes the card a board and keeps it one. It returns when ctx has ended
// and the board's program with it, or with an error if the machine cannot be
// restarted or put to rest as that asked for.
func Run(ctx context.Context, c Config) error {
	a := &aboard{Config: c, log: newLogbook(c.Paths)}
	showing, hide := context.WithCancel(context.WithoutCancel(ctx))
	var shown sync.WaitGroup
	shown.Go(func() { a.log.show(showing, c.Console) })
	defer shown.Wait()
	defer hide()
	a.start()
	noCard := a.openBoot(ctx)
	if noCard == nil && a.landed(ctx) {
		return a.Machine.Restart()
	}
	settings, err := a.settings(noCard)
	return a.board(ctx, settings, err)
}

// say is one fact, on the console and in the log.
func (a *aboard) say(format string, args ...any) { a.log.say(fmt.Sprintf(format, args...)) }

// start finds out which machine and which slot this is.
func (a *aboard) start() {
	line, err := os.ReadFile(filepath.Join(a.Paths.Proc, "cmdline"))
	if err != nil {
		a.say("%v", err)
	}
	a.words = parseWords(string(line))
	if a.serial, err = findSerial(a.words, a.Paths); err != nil {
		a.say("%v; it is taken for 0000", err)
		a.serial = strings.Repeat("0", maxSerial)
	}
	a.say("serial %s", a.serial)
}

// openBoot mounts the boot partition.
func (a *aboard) openBoot(ctx context.Context) error {
	device := a.Paths.Part(bootPart)
	if !waitFor(ctx, device, deviceWait) {
		return fmt.Errorf("the card does not show up as %s", device)
	}
	if !mounted(a.Paths, a.Paths.Boot) {
		if err := a.Machine.Mount(device, a.Paths.Boot, "vfat", fatOptions, true); err != nil {
			return fmt.Errorf("the card's first partition cannot be read: %w", err)
		}
	}
	return nil
}

// settings reads what people have written on the boot partition, unless it could
// not be mounted.
func (a *aboard) settings(noCard error) (Settings, error) {
	if noCard != nil {
		return a.without(noCard)
	}
	s, err := a.Load(a.Paths.SettingsFile(), a.serial)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			a.say("settings: %s", strings.TrimSpace(line))
		}
		if s.HostName == "" {
			s.HostName = DefaultHostName(a.serial)
		}
	}
	return s, err
}

// without are the settings of a card that cannot be read.
func (a *aboard) without(err error) (Settings, error) {
	a.say("%v", err)
	return Settings{HostName: DefaultHostName(a.serial)}, &Broken{[]Mistake{{Text: err.Error()}}}
}

// board brings network, data partition and clock up, and then runs the board,
// or shows what is wrong with its settings.
func (a *aboard) board(ctx context.Context, s Settings, broken error) error {
	err := a.Machine.SetHostName(s.HostName)
	if err != nil {
		a.say("host name: %v", err)
	}
	// What serves the board outlives ctx, until the board's program has stopped.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var behind sync.WaitGroup
	defer behind.Wait()
	defer stop()

	a.net = newNetwork(a.Machine, a.Paths, s, a.say)
	a.net.reuse = broken != nil
	dataErr := a.openDataBeside(ctx, serving, &behind)
	if dataErr == nil {
		a.say("data partition %s", a.data.says)
		if at := a.net.address(); at.Own.IsValid() && broken == nil {
			if err := a.net.keep(at); err != nil {
				a.say("the address cannot be kept: %v", err)
			}
		}
	} else {
		a.say("data partition cannot be used: %v", dataErr)
		a.say("the board serves pages and takes no orders: change its card")
		a.shutData()
	}
	a.tellBoard(dataErr)

	a.clock = newClock(a.Machine, a.Paths, func() []string { return a.servers(s) }, a.say)
	if a.AskTime != nil {
		a.clock.ask = a.AskTime
	}
	a.clock.recall()
	behind.Go(func() { a.clock.run(serving) })
	behind.Go(func() { announce(serving, s.HostName, max(s.Port, 1), a.net.address, a.say) })
	behind.Go(func() { a.log.copyOften(serving) })
	if a.words.Try {
		behind.Go(func() { a.watchTrial(serving, trialTime, trialLook) })
	}
	asked := ExitStopped
	if broken != nil {
		a.mistakes(ctx, s, broken)
	} else if asked, err = a.serve(ctx, s); err != nil {
		return err
	}
	return a.end(ctx, asked, s.AtRest, func() {
		stop()
		behind.Wait()
	})
}

// openDataBeside opens the data partition while the network comes up, and says
// first how the network is.
func (a *aboard) openDataBeside(ctx, serving context.Context, behind *sync.WaitGroup) error {
	behind.Go(func() { a.net.run(serving) })
	opened := make(chan error, 1)
	behind.Go(func() {
		var err error
		a.data, err = openData(ctx, a.Machine, a.Paths)
		opened <- err
	})
	patience := time.NewTimer(networkWait)
	defer patience.Stop()
	select {
	case <-a.net.got:
		a.say("network %s", a.net.address())
	case <-patience.C:
		a.say("network: no address yet; is the cable in?")
	case <-ctx.Done():
	}
	return <-opened
}

// shutData has nothing be written where no data partition is: the folder would
// be in memory, and an order that is taken there is lost with the power.
func (a *aboard) shutData() {
	if a.data.mounted {
		return // and read-only
	}
	if err := a.Machine.Mount("none", a.Paths.Data, "tmpfs", "size=4k", true); err != nil {
		a.say("%v", err)
	}
}

// tellBoard writes down what the board's program shows of its card.
func (a *aboard) tellBoard(dataErr error) {
	var facts []struct{ name, text string }
	if dataErr != nil {
		facts = append(facts, struct{ name, text string }{noCardFact, dataErr.Error() + "\n"})
	} else if note, err := os.ReadFile(a.Paths.Kept(remadeFact)); err == nil {
		facts = append(facts, struct{ name, text string }{remadeFact, string(note)})
	}
	for _, f := range facts {
		if err := replaceFile(a.Paths.State(f.name), []byte(f.text)); err != nil {
			a.say("%v", err)
		}
	}
}

// servers are the time servers to ask: the settings', else DHCP's, else Debian's.
func (a *aboard) servers(s Settings) []string {
	if len(s.NTP) > 0 {
		return s.NTP
	}
	if told := a.net.address().NTP; len(told) > 0 {
		return told
	}
	return defaultServers()
}

// mistakes shows what is wrong with the settings until ctx ends.
func (a *aboard) mistakes(ctx context.Context, s Settings, broken error) {
	d := pageData{Host: s.HostName, Serial: a.serial, Version: a.Version}
	var list *Broken
	if errors.As(broken, &list) {
		d.Mistakes = list.Mistakes
	} else {
		d.Mistakes = []Mistake{{Text: broken.Error()}}
	}
	a.say("bramble.toml has a mistake: the board shows it on its page and does not start")
	var showing sync.WaitGroup
	defer showing.Wait()
	showing.Go(func() { a.Alarm(ctx) })
	serveMistakes(ctx, cmp.Or(a.Page, ":80"), d, a.say)
}

// serve waits for the time, and runs the board until ctx ends or it asks for
// more; the exit code that it asks by is returned.
func (a *aboard) serve(ctx context.Context, s Settings) (int, error) {
	patience := time.NewTimer(clockWait)
	defer patience.Stop()
	select {
	case <-a.clock.set:
	case <-patience.C:
		a.say("clock not set")
	case <-ctx.Done():
	}
	file := filepath.Join(a.Paths.Run, "bramble.toml")
	if err := os.WriteFile(file, s.File, 0o600); err != nil {
		return 0, fmt.Errorf("writing the board's settings: %w", err)
	}
	k := &keeper{
		machine: a.Machine, paths: a.Paths, log: a.log, say: a.say, now: time.Now,
		name: a.Program, args: append(append([]string(nil), a.Args...), file),
	}
	if a.words.Watchdog {
		if dog, err := a.Machine.OpenWatchdog(watchdogTimeout); err != nil {
			a.say("no watchdog: %v", err)
		} else {
			a.guardian = guard(dog, newHealth(s.Health).ask, k.starts, a.say)
		}
	}
	trial := ""
	if a.words.Try {
		trial = ", on trial"
	}
	a.say("board %s starts, slot %s%s, %s", s.Board, a.words.Slot, trial, a.Version)
	return k.run(ctx), nil
}

// end does what the board's program asked for when it ended.
func (a *aboard) end(ctx context.Context, asked int, atRest func(context.Context), quit func()) error {
	switch asked {
	case ExitHalt:
		a.say("board has shut down; it is safe to unplug")
	case ExitTry:
		if several(a.Paths) {
			a.say("restarting with one processor, to try slot %s from there", OtherSlot(a.words.Slot))
		} else {
			a.say("restarting into slot %s (try)", OtherSlot(a.words.Slot))
		}
	case ExitRestart:
		a.say("restarting")
	default:
		a.say("board has stopped")
	}
	if err := a.log.copy(); err != nil && a.data.mounted {
		a.say("the log cannot be kept: %v", err)
	}
	quit()
	a.Machine.Sync()
	if a.data.mounted {
		if err := a.Machine.Unmount(a.Paths.Data); err != nil {
			a.say("%v", err)
		}
	}
	a.log.settle(ctx)
	switch asked {
	case ExitHalt:
		a.guardian.end(false)
		// The kernel goes on, or its timer could not keep the green lamp flashing,
		// and this program, which has taken over the lamps on the header. Nothing is
		// mounted that a plug could hurt.
		if atRest != nil {
			atRest(ctx)
		}
		<-ctx.Done()
		return nil
	case ExitTry:
		if err := a.try(); err != nil {
			a.say("the other slot cannot be started: %v", err)
			a.log.settle(ctx)
		}
		a.guardian.end(true)
		return a.Machine.Restart()
	case ExitRestart:
		a.guardian.end(true)
		return a.Machine.Restart()
	}
	a.guardian.end(false)
	return nil
}
