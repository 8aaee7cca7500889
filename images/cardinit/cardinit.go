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
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// deviceTimeout limits the wait for the card's block device.
	deviceTimeout = 15 * time.Second
	// networkTimeout limits the wait for an address at the start. After it the
	// board starts without one, and takes it when it comes.
	networkTimeout = leaseTimeout + 10*time.Second
	// fatOptions are mount options that Debian's kernel is built for; bramble.toml is secret.
	fatOptions = "fmask=0077,dmask=0077,errors=remount-ro"
)

// CardSettings are the part of the card's settings file that its init uses.
type CardSettings struct {
	HostName      string
	Address       netip.Prefix // the zero Prefix: use DHCP
	Gateway       netip.Addr
	DNS           []netip.Addr
	NTP           []string
	Board         string   // the board's name in its rack
	ProgramConfig []byte   // the settings of the board's program, resolved
	UpdateKeys    []string // public ones, of the owner
	HealthURL     string   // answers 200 while the program is healthy
	Port          int      // of its public pages
	// ShowAtRest shows "safe to unplug" on the lamps that the card names, until
	// ctx ends. nil: there are none.
	ShowAtRest func(ctx context.Context)
}

// Config configures Run.
type Config struct {
	System  System
	Paths   Paths
	Version string
	Console io.Writer
	// Program and Args start the board's program. The name of the file with its
	// settings is appended.
	Program string
	Args    []string
	// Load reads the settings file for the card with a serial number. If its error
	// is a *SettingsError, the settings hold the network settings that could be read.
	Load func(file, serial string) (CardSettings, error)
	// ShowAlarm shows "bad settings" on the lamps until ctx ends.
	ShowAlarm func(ctx context.Context)
	// QueryTime returns a time server's offset against this clock; nil: by SNTP.
	QueryTime func(server string) (time.Duration, error)
	// PageAddress is where the page of mistakes listens; "": port 80 of every address.
	PageAddress string
}

// cardInit is one run of the card's init.
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

// Run starts the card as a board and supervises it. It returns when ctx has ended and
// the board's program has stopped, or with an error if the machine cannot be
// restarted or shut down as the program requested.
func Run(ctx context.Context, cfg Config) error {
	c := &cardInit{Config: cfg, log: newLogRing(cfg.Paths)}
	showing, hide := context.WithCancel(context.WithoutCancel(ctx))
	var console sync.WaitGroup
	console.Go(func() { c.log.runConsole(showing, cfg.Console) })
	defer console.Wait()
	defer hide()
	c.readIdentity()
	cardErr := c.mountBoot(ctx)
	if cardErr == nil && c.completeHop(ctx) {
		return c.System.Restart()
	}
	settings, err := c.loadSettings(cardErr)
	return c.runBoard(ctx, settings, err)
}

// readIdentity finds the board's serial number and the running slot.
func (c *cardInit) readIdentity() {
	var err error
	if c.params, err = readParams(c.Paths); err != nil {
		c.log.logf("%v", err)
	}
	if c.serial, err = findSerial(c.params, c.Paths); err != nil {
		c.log.logf("%v; using 0000", err)
		c.serial = strings.Repeat("0", maxSerial)
	}
	c.log.logf("serial %s", c.serial)
}

func (c *cardInit) mountBoot(ctx context.Context) error {
	device := c.Paths.Partition(bootPartNumber)
	if !waitForFile(ctx, device, deviceTimeout) {
		return fmt.Errorf("the card does not show up as %s", device)
	}
	if !isMounted(c.Paths, c.Paths.Boot) {
		if err := c.System.Mount(device, c.Paths.Boot, "vfat", fatOptions, true); err != nil {
			return fmt.Errorf("the card's first partition cannot be read: %w", err)
		}
	}
	return nil
}

// loadSettings reads the settings file on the boot partition. cardErr is why that
// could not be mounted, nil if it was.
func (c *cardInit) loadSettings(cardErr error) (CardSettings, error) {
	if cardErr != nil {
		c.log.logf("%v", cardErr)
		return CardSettings{HostName: DefaultHostName(c.serial)}, &SettingsError{[]Mistake{{Text: cardErr.Error()}}}
	}
	s, err := c.Load(c.Paths.SettingsFile(), c.serial)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			c.log.logf("settings: %s", strings.TrimSpace(line))
		}
		if s.HostName == "" {
			s.HostName = DefaultHostName(c.serial)
		}
	}
	return s, err
}

// runBoard brings up network, data partition and clock. Then it runs the board's
// program, or shows the mistakes in its settings.
func (c *cardInit) runBoard(ctx context.Context, s CardSettings, settingsErr error) error {
	if err := c.System.SetHostName(s.HostName); err != nil {
		c.log.logf("host name: %v", err)
	}
	// The services outlive ctx until the board's program has stopped.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var services sync.WaitGroup
	defer services.Wait()
	defer stop()

	c.net = newNetwork(c.System, c.Paths, s, c.log.logf)
	c.net.useSaved = settingsErr != nil
	dataErr := c.openDataAndNetwork(ctx, serving, &services)
	if dataErr == nil {
		c.log.logf("data partition %s", c.data.summary)
		if at := c.net.currentAddress(); at.Own.IsValid() && settingsErr == nil {
			if err := c.net.saveAddress(at); err != nil {
				c.log.logf("the address cannot be saved: %v", err)
			}
		}
	} else {
		c.log.logf("data partition cannot be used: %v", dataErr)
		c.log.logf("the board serves pages and accepts no orders: replace its card")
		c.blockDataWrites()
	}
	c.writeStateFiles(dataErr)

	c.clock = newClockSync(c.System, c.Paths, func() []string { return pickServers(s.NTP, c.net.currentAddress().NTP) }, c.log.logf)
	if c.QueryTime != nil {
		c.clock.query = c.QueryTime
	}
	c.clock.restoreSaved()
	services.Go(func() { c.clock.run(serving) })
	services.Go(func() { runMDNS(serving, s.HostName, max(s.Port, 1), c.net.currentAddress, c.log.logf) })
	services.Go(func() { c.log.runSaving(serving) })
	services.Go(func() { newStickWatcher(c.System, c.Paths, c.log.logf).run(serving) })
	if c.params.Trial {
		services.Go(func() { c.watchTrial(serving, trialTimeout, trialPollInterval) })
	}
	exitCode := ExitStopped
	if settingsErr != nil {
		c.showMistakes(ctx, s, settingsErr)
	} else {
		var err error
		if exitCode, err = c.superviseBoard(ctx, s); err != nil {
			return err
		}
	}
	return c.shutDown(ctx, exitCode, s.ShowAtRest, func() {
		stop()
		services.Wait()
	})
}

// openDataAndNetwork opens the data partition while the network comes up, which logs its
// state first.
func (c *cardInit) openDataAndNetwork(ctx, serving context.Context, services *sync.WaitGroup) error {
	services.Go(func() { c.net.run(serving) })
	opened := make(chan error, 1)
	services.Go(func() {
		var err error
		c.data, err = openData(ctx, c.System, c.Paths)
		opened <- err
	})
	select {
	case <-c.net.haveAddress:
	case <-time.After(networkTimeout):
		c.log.logf("network: no address yet; is the cable in?")
	case <-ctx.Done():
	}
	return <-opened
}

// blockDataWrites mounts an empty read-only file system where the data partition
// should be. Without it the folder would be in memory, and an order written there
// would be lost with the power.
func (c *cardInit) blockDataWrites() {
	if c.data.mounted {
		return // and read-only
	}
	if err := c.System.Mount("none", c.Paths.Data, "tmpfs", "size=4k", true); err != nil {
		c.log.logf("%v", err)
	}
}

// writeStateFiles records the card's state for the board's program to show.
func (c *cardInit) writeStateFiles(dataErr error) {
	name, text := "", ""
	if dataErr != nil {
		name, text = noCardStateFile, dataErr.Error()+"\n"
	} else if note, err := os.ReadFile(c.Paths.SavedFile(recreatedStateFile)); err == nil {
		name, text = recreatedStateFile, string(note)
	}
	if name == "" {
		return
	}
	if err := replaceFile(c.Paths.StateFile(name), []byte(text)); err != nil {
		c.log.logf("%v", err)
	}
}

// showMistakes shows the mistakes in the settings, on the lamps and on a page,
// until ctx ends.
func (c *cardInit) showMistakes(ctx context.Context, s CardSettings, settingsErr error) {
	d := pageData{Host: s.HostName, Serial: c.serial, Version: c.Version}
	if list, ok := errors.AsType[*SettingsError](settingsErr); ok {
		d.Mistakes = list.Mistakes
	} else {
		d.Mistakes = []Mistake{{Text: settingsErr.Error()}}
	}
	c.log.logf("bramble.toml has a mistake: the board shows it on its page and does not start")
	var lamps sync.WaitGroup
	defer lamps.Wait()
	lamps.Go(func() { c.ShowAlarm(ctx) })
	serveMistakes(ctx, cmp.Or(c.PageAddress, ":80"), d, c.log.logf)
}

// superviseBoard waits for the time, and then runs the board's program until ctx
// ends or the program's exit code, which it returns, requests more than a restart.
func (c *cardInit) superviseBoard(ctx context.Context, s CardSettings) (int, error) {
	select {
	case <-c.clock.set:
	case <-time.After(clockTimeout):
		c.log.logf("clock not set")
	case <-ctx.Done():
	}
	file := filepath.Join(c.Paths.Run, "bramble.toml")
	if err := os.WriteFile(file, s.ProgramConfig, 0o600); err != nil {
		return 0, fmt.Errorf("writing the settings for the board's program: %w", err)
	}
	program := &supervisor{
		system: c.System, paths: c.Paths, log: c.log, name: c.Program, args: append(slices.Clone(c.Args), file),
	}
	if c.params.Watchdog {
		if device, err := c.System.OpenWatchdog(watchdogTimeout); err != nil {
			c.log.logf("no watchdog: %v", err)
		} else {
			c.watchdog = startWatchdogFeeder(device, newHealthCheck(s.HealthURL), program.starts.Load, c.log.logf)
		}
	}
	trial := ""
	if c.params.Trial {
		trial = ", on trial"
	}
	c.log.logf("board %s starts, slot %s%s, %s", s.Board, c.params.Slot, trial, c.Version)
	return program.run(ctx), nil
}

// shutDown carries out the request in the exit code of the board's program. stopServices
// stops everything that may still write to the data partition.
func (c *cardInit) shutDown(ctx context.Context, exitCode int, showAtRest func(context.Context), stopServices func()) error {
	switch exitCode {
	case ExitHalt:
		c.log.logf("board has shut down; it is safe to unplug")
	case ExitTry:
		if isMultiprocessor(c.Paths) {
			c.log.logf("restarting with one processor, to try slot %s from there", OtherSlot(c.params.Slot))
		} else {
			c.log.logf("restarting into slot %s (try)", OtherSlot(c.params.Slot))
		}
	case ExitRestart:
		c.log.logf("restarting")
	default:
		c.log.logf("board has stopped")
	}
	if err := c.log.saveToCard(); err != nil && c.data.mounted {
		c.log.logf("the log cannot be saved: %v", err)
	}
	stopServices()
	c.System.Sync()
	if c.data.mounted {
		if err := c.System.Unmount(c.Paths.Data); err != nil {
			c.log.logf("%v", err)
		}
	}
	c.log.drainConsole(ctx)
	switch exitCode {
	case ExitHalt:
		c.watchdog.stop(false)
		// The kernel is not halted: its timer keeps the green lamp flashing, and this
		// program the lamps on the header. Nothing is mounted that pulling the plug
		// could damage.
		if showAtRest != nil {
			showAtRest(ctx)
		}
		<-ctx.Done()
		return nil
	case ExitTry:
		if err := c.startTrial(); err != nil {
			c.log.logf("the other slot cannot be started: %v", err)
			c.log.drainConsole(ctx)
		}
		fallthrough
	case ExitRestart:
		c.watchdog.stop(true)
		return c.System.Restart()
	}
	c.watchdog.stop(false)
	return nil
}
