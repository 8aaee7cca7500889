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
	// deviceTimeout is how long the card may take to show up.
	deviceTimeout = 15 * time.Second
	// networkTimeout is how long the start waits for an address. The board starts
	// without one, and takes it when it comes.
	networkTimeout = leaseTimeout + 10*time.Second
	// fatOptions: names as Debian's kernel has them built for.
	fatOptions = "fmask=0022,dmask=0022,errors=remount-ro"
)

// CardSettings are what a card's file says to aboard.
type CardSettings struct {
	HostName      string
	Address       netip.Prefix // the zero Prefix: DHCP
	Gateway       netip.Addr
	DNS           []netip.Addr
	NTP           []string
	Board         string // the board's name in its rack
	ProgramConfig []byte // the settings of the board's program, resolved
	HealthURL     string // URL that answers 200 while the program lives
	Port          int    // of its public pages
	// ShowAtRest shows on the lamps that the card names that it is safe to unplug the
	// board, until ctx ends. nil: there are none.
	ShowAtRest func(ctx context.Context)
}

// Config is what aboard is given.
type Config struct {
	System  System
	Paths   Paths
	Version string
	Console io.Writer
	// Program and Args run the board; the file with its settings is appended.
	Program string
	Args    []string
	// Load reads the settings file as the card with a serial number has it. Its
	// error may be a *Broken; then the Settings are what can be known of the
	// network all the same.
	Load func(file, serial string) (CardSettings, error)
	// ShowAlarm shows on the lamps that the settings cannot be read, until ctx ends.
	ShowAlarm func(ctx context.Context)
	// QueryTime asks a time server how far this clock is off; nil asks by SNTP.
	QueryTime func(server string) (time.Duration, error)
	// PageAddress is where the page of mistakes is shown, "" for port 80 of every address.
	PageAddress string
}

// cardInit is one run.
type cardInit struct {
	Config
	params KernelParams
	serial string
	log    *logRing
	net    *network
	clock  *clockSync
	data   dataPartition

	watchdog *watchdogFeeder // nil: no watchdog
}

// Run makes the card a board and keeps it one. It returns when ctx has ended
// and the board's program with it, or with an error if the machine cannot be
// restarted or put to rest as that asked for.
func Run(ctx context.Context, c Config) error {
	a := &cardInit{Config: c, log: newLogRing(c.Paths)}
	showing, hide := context.WithCancel(context.WithoutCancel(ctx))
	var shown sync.WaitGroup
	shown.Go(func() { a.log.runConsole(showing, c.Console) })
	defer shown.Wait()
	defer hide()
	a.readIdentity()
	noCard := a.mountBoot(ctx)
	if noCard == nil && a.completeHop(ctx) {
		return a.System.Restart()
	}
	settings, err := a.loadSettings(noCard)
	return a.runBoard(ctx, settings, err)
}

// logf is one fact, on the console and in the log.
func (a *cardInit) logf(format string, args ...any) { a.log.addOwn(fmt.Sprintf(format, args...)) }

// readIdentity finds out which machine and which slot this is.
func (a *cardInit) readIdentity() {
	line, err := os.ReadFile(filepath.Join(a.Paths.Proc, "cmdline"))
	if err != nil {
		a.logf("%v", err)
	}
	a.params = parseCmdline(string(line))
	if a.serial, err = findSerial(a.params, a.Paths); err != nil {
		a.logf("%v; it is taken for 0000", err)
		a.serial = strings.Repeat("0", maxSerial)
	}
	a.logf("serial %s", a.serial)
}

// mountBoot mounts the boot partition.
func (a *cardInit) mountBoot(ctx context.Context) error {
	device := a.Paths.Partition(bootPartNumber)
	if !waitForFile(ctx, device, deviceTimeout) {
		return fmt.Errorf("the card does not show up as %s", device)
	}
	if !isMounted(a.Paths, a.Paths.Boot) {
		if err := a.System.Mount(device, a.Paths.Boot, "vfat", fatOptions, true); err != nil {
			return fmt.Errorf("the card's first partition cannot be read: %w", err)
		}
	}
	return nil
}

// loadSettings reads what people have written on the boot partition, unless it could
// not be mounted.
func (a *cardInit) loadSettings(noCard error) (CardSettings, error) {
	if noCard != nil {
		return a.settingsWithoutCard(noCard)
	}
	s, err := a.Load(a.Paths.SettingsFile(), a.serial)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			a.logf("settings: %s", strings.TrimSpace(line))
		}
		if s.HostName == "" {
			s.HostName = DefaultHostName(a.serial)
		}
	}
	return s, err
}

// settingsWithoutCard are the settings of a card that cannot be read.
func (a *cardInit) settingsWithoutCard(err error) (CardSettings, error) {
	a.logf("%v", err)
	return CardSettings{HostName: DefaultHostName(a.serial)}, &SettingsError{[]Mistake{{Text: err.Error()}}}
}

// runBoard brings network, data partition and clock up, and then runs the board,
// or shows what is wrong with its settings.
func (a *cardInit) runBoard(ctx context.Context, s CardSettings, broken error) error {
	err := a.System.SetHostName(s.HostName)
	if err != nil {
		a.logf("host name: %v", err)
	}
	// What serves the board outlives ctx, until the board's program has stopped.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var behind sync.WaitGroup
	defer behind.Wait()
	defer stop()

	a.net = newNetwork(a.System, a.Paths, s, a.logf)
	a.net.useSaved = broken != nil
	dataErr := a.openDataAndNetwork(ctx, serving, &behind)
	if dataErr == nil {
		a.logf("data partition %s", a.data.summary)
		if at := a.net.currentAddress(); at.Own.IsValid() && broken == nil {
			if err := a.net.saveAddress(at); err != nil {
				a.logf("the address cannot be kept: %v", err)
			}
		}
	} else {
		a.logf("data partition cannot be used: %v", dataErr)
		a.logf("the board serves pages and takes no orders: change its card")
		a.blockDataWrites()
	}
	a.writeStateFiles(dataErr)

	a.clock = newClockSync(a.System, a.Paths, func() []string { return a.timeServers(s) }, a.logf)
	if a.QueryTime != nil {
		a.clock.query = a.QueryTime
	}
	a.clock.restoreSaved()
	behind.Go(func() { a.clock.run(serving) })
	behind.Go(func() { runMDNS(serving, s.HostName, max(s.Port, 1), a.net.currentAddress, a.logf) })
	behind.Go(func() { a.log.runSaving(serving) })
	if a.params.Trial {
		behind.Go(func() { a.watchTrial(serving, trialTimeout, trialPollInterval) })
	}
	asked := ExitStopped
	if broken != nil {
		a.showMistakes(ctx, s, broken)
	} else if asked, err = a.superviseBoard(ctx, s); err != nil {
		return err
	}
	return a.shutDown(ctx, asked, s.ShowAtRest, func() {
		stop()
		behind.Wait()
	})
}

// openDataAndNetwork opens the data partition while the network comes up, and says
// first how the network is.
func (a *cardInit) openDataAndNetwork(ctx, serving context.Context, behind *sync.WaitGroup) error {
	behind.Go(func() { a.net.run(serving) })
	opened := make(chan error, 1)
	behind.Go(func() {
		var err error
		a.data, err = openData(ctx, a.System, a.Paths)
		opened <- err
	})
	patience := time.NewTimer(networkTimeout)
	defer patience.Stop()
	select {
	case <-a.net.haveAddress:
		a.logf("network %s", a.net.currentAddress())
	case <-patience.C:
		a.logf("network: no address yet; is the cable in?")
	case <-ctx.Done():
	}
	return <-opened
}

// blockDataWrites has nothing be written where no data partition is: the folder would
// be in memory, and an order that is taken there is lost with the power.
func (a *cardInit) blockDataWrites() {
	if a.data.mounted {
		return // and read-only
	}
	if err := a.System.Mount("none", a.Paths.Data, "tmpfs", "size=4k", true); err != nil {
		a.logf("%v", err)
	}
}

// writeStateFiles writes down what the board's program shows of its card.
func (a *cardInit) writeStateFiles(dataErr error) {
	var facts []struct{ name, text string }
	if dataErr != nil {
		facts = append(facts, struct{ name, text string }{noCardStateFile, dataErr.Error() + "\n"})
	} else if note, err := os.ReadFile(a.Paths.SavedFile(remadeStateFile)); err == nil {
		facts = append(facts, struct{ name, text string }{remadeStateFile, string(note)})
	}
	for _, f := range facts {
		if err := replaceFile(a.Paths.StateFile(f.name), []byte(f.text)); err != nil {
			a.logf("%v", err)
		}
	}
}

// timeServers are the time servers to ask: the settings', else DHCP's, else Debian's.
func (a *cardInit) timeServers(s CardSettings) []string {
	if len(s.NTP) > 0 {
		return s.NTP
	}
	if told := a.net.currentAddress().NTP; len(told) > 0 {
		return told
	}
	return defaultTimeServers()
}

// showMistakes shows what is wrong with the settings until ctx ends.
func (a *cardInit) showMistakes(ctx context.Context, s CardSettings, broken error) {
	d := pageData{Host: s.HostName, Serial: a.serial, Version: a.Version}
	var list *SettingsError
	if errors.As(broken, &list) {
		d.Mistakes = list.Mistakes
	} else {
		d.Mistakes = []Mistake{{Text: broken.Error()}}
	}
	a.logf("bramble.toml has a mistake: the board shows it on its page and does not start")
	var showing sync.WaitGroup
	defer showing.Wait()
	showing.Go(func() { a.ShowAlarm(ctx) })
	serveMistakes(ctx, cmp.Or(a.PageAddress, ":80"), d, a.logf)
}

// superviseBoard waits for the time, and runs the board until ctx ends or it asks for
// more; the exit code that it asks by is returned.
func (a *cardInit) superviseBoard(ctx context.Context, s CardSettings) (int, error) {
	patience := time.NewTimer(clockTimeout)
	defer patience.Stop()
	select {
	case <-a.clock.set:
	case <-patience.C:
		a.logf("clock not set")
	case <-ctx.Done():
	}
	file := filepath.Join(a.Paths.Run, "bramble.toml")
	if err := os.WriteFile(file, s.ProgramConfig, 0o600); err != nil {
		return 0, fmt.Errorf("writing the board's settings: %w", err)
	}
	k := &supervisor{
		system: a.System, paths: a.Paths, log: a.log, logf: a.logf, now: time.Now,
		name: a.Program, args: append(append([]string(nil), a.Args...), file),
	}
	if a.params.Watchdog {
		if dog, err := a.System.OpenWatchdog(watchdogTimeout); err != nil {
			a.logf("no watchdog: %v", err)
		} else {
			a.watchdog = startWatchdogFeeder(dog, newHealthProbe(s.HealthURL).checkHealth, k.startCount, a.logf)
		}
	}
	trial := ""
	if a.params.Trial {
		trial = ", on trial"
	}
	a.logf("board %s starts, slot %s%s, %s", s.Board, a.params.Slot, trial, a.Version)
	return k.run(ctx), nil
}

// shutDown does what the board's program asked for when it ended.
func (a *cardInit) shutDown(ctx context.Context, asked int, atRest func(context.Context), quit func()) error {
	switch asked {
	case ExitHalt:
		a.logf("board has shut down; it is safe to unplug")
	case ExitTry:
		if isMultiprocessor(a.Paths) {
			a.logf("restarting with one processor, to try slot %s from there", OtherSlot(a.params.Slot))
		} else {
			a.logf("restarting into slot %s (try)", OtherSlot(a.params.Slot))
		}
	case ExitRestart:
		a.logf("restarting")
	default:
		a.logf("board has stopped")
	}
	if err := a.log.saveToCard(); err != nil && a.data.mounted {
		a.logf("the log cannot be kept: %v", err)
	}
	quit()
	a.System.Sync()
	if a.data.mounted {
		if err := a.System.Unmount(a.Paths.Data); err != nil {
			a.logf("%v", err)
		}
	}
	a.log.drainConsole(ctx)
	switch asked {
	case ExitHalt:
		a.watchdog.stop(false)
		// The kernel goes on, or its timer could not keep the green lamp flashing,
		// and this program, which has taken over the lamps on the header. Nothing is
		// mounted that a plug could hurt.
		if atRest != nil {
			atRest(ctx)
		}
		<-ctx.Done()
		return nil
	case ExitTry:
		if err := a.startTrial(); err != nil {
			a.logf("the other slot cannot be started: %v", err)
			a.log.drainConsole(ctx)
		}
		a.watchdog.stop(true)
		return a.System.Restart()
	case ExitRestart:
		a.watchdog.stop(true)
		return a.System.Restart()
	}
	a.watchdog.stop(false)
	return nil
}
