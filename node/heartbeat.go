package node

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"bramble/cache"
	"bramble/cluster"
	"bramble/node/config"
	"bramble/node/front"
	"bramble/node/host"
	"bramble/node/orderservice"
)

const (
	heartbeatInterval    = time.Second     // between two samples of vitals
	nameConflictShownFor = time.Minute     // after it was last seen
	piReadInterval       = 3 * time.Second // between two reads of a few small files that change slowly
)

type selfHealth struct {
	sampler      *sampler
	faults       atomic.Uint32                 // cluster.Faults of the latest sample
	idleSamples  atomic.Int64                  // consecutive samples without a response; see completeDrainIfIdle
	pi           atomic.Pointer[host.PiHealth] // nil: not read yet
	clockDiffers atomic.Bool                   // this board's clock differs from the ledger's
	nameTakenAt  atomic.Int64                  // when another board was last seen under this one's name, Unix nanoseconds
}

// runHeartbeat turns the parts' counters into a sample of vitals, once per second, for
// gossip, console and panel, until ctx ends. It also completes a drain and a halt, which
// wait for a sample without clients.
func (b *board) runHeartbeat(ctx context.Context) {
	repeatEvery(ctx, heartbeatInterval, func() {
		b.publishVitals()
		b.completeDrainIfIdle()
		b.completeHaltIfDrained()
	})
}

// repeatEvery calls do now and then at every interval, until ctx ends.
func repeatEvery(ctx context.Context, interval time.Duration, do func()) {
	ticker := time.Tick(interval)
	for {
		do()
		select {
		case <-ctx.Done():
			return
		case <-ticker:
		}
	}
}

// publishVitals takes a sample and passes it to gossip (Members.SetMeta, which the
// console reads too) and to the panel. Both have goroutines of their own that send and
// show it.
func (b *board) publishVitals() {
	v := b.sampler.takeSample(time.Now())
	v.State = b.state.get()
	v.Faults = b.currentFaults()
	b.faults.Store(uint32(v.Faults))
	if v.ResponsesPerSecond > 0 {
		b.idleSamples.Store(0)
	} else {
		b.idleSamples.Add(1)
	}
	b.members.SetMeta(b.buildMeta(v, b.selfAddr()))
	b.updatePanel(v, time.Now())
}

// sampler turns totals into rates over the last second.
type sampler struct {
	start     time.Time
	counts    func() front.Counts
	stats     func() cache.Stats
	readUsage func() host.Usage
	readLoad  func(now time.Time) (share float64, known bool) // of the machine's capacity; nil: other boards use the machine too

	last totals // of the previous sample
}

// totals are counters since the start; a sample is the difference between two.
type totals struct {
	at                 time.Time
	replies            int64
	hits, cacheLookups int64
	cpu                time.Duration
}

// takeSample returns the vitals since the last call, without state and faults. If the
// machine's load is not known, Load is the share of one processor that the board uses.
// Only one goroutine may call it.
func (s *sampler) takeSample(now time.Time) cluster.Vitals {
	counts, stats, usage := s.counts(), s.stats(), s.readUsage()
	next := totals{at: now, replies: counts.Replies, hits: stats.Hits + stats.Stale, cacheLookups: stats.Requests, cpu: usage.CPU}
	last := s.last
	s.last = next
	v := cluster.Vitals{
		Memory:      usage.MemoryBytes,
		Connections: counts.Open,
		CacheBytes:  stats.Bytes,
		CacheBudget: stats.Budget,
		Uptime:      now.Sub(s.start),
	}
	if elapsed := next.at.Sub(last.at).Seconds(); elapsed > 0 {
		v.ResponsesPerSecond = float32(float64(next.replies-last.replies) / elapsed)
		v.CPU = float32((next.cpu - last.cpu).Seconds() / elapsed)
	}
	v.Load = min(v.CPU, 1)
	if s.readLoad != nil {
		if share, known := s.readLoad(now); known {
			v.Load = float32(share)
		}
	}
	if lookups := next.cacheLookups - last.cacheLookups; lookups > 0 {
		v.HitRatio = float32(next.hits-last.hits) / float32(lookups)
	}
	return v
}

func (b *board) currentFaults() cluster.Faults {
	alive, known := b.members.Known()
	state, clock, nameTaken := b.state.get(), b.orders.status().Clock, b.nameTakenAt.Load()
	b.clockDiffers.Store(clock.OwnDiffers())
	return piFaults(b.piHealth()) | joinFaults(map[cluster.Faults]bool{
		cluster.PeerLost:    alive < known,
		cluster.OriginDown:  len(b.sites.Down()) > 0,
		cluster.CutOff:      !b.purger.LeaseValid() && state != cluster.Starting && state != cluster.Joining,
		cluster.ClockNotSet: !b.clockIsSet() || orderservice.ClockFault(clock),
		cluster.NoMajority:  !b.orders.acceptsOrders(),
		cluster.CardFailing: b.cardUnusable.Load(),
		cluster.NameTaken:   nameTaken != 0 && time.Since(time.Unix(0, nameTaken)) < nameConflictShownFor,
	})
}

func piFaults(h host.PiHealth) cluster.Faults {
	return joinFaults(map[cluster.Faults]bool{cluster.PowerLow: h.PowerLow, cluster.TooHot: h.TooHot, cluster.CardFailing: h.Card != ""})
}

func joinFaults(isThere map[cluster.Faults]bool) (faults cluster.Faults) {
	for fault, there := range isThere {
		if there {
			faults |= fault
		}
	}
	return faults
}

func (b *board) piHealth() host.PiHealth {
	if h := b.pi.Load(); h != nil {
		return *h
	}
	return host.PiHealth{}
}

// buildMeta returns what this board gossips about itself. self is its gossip
// address, "" before gossip runs.
func (b *board) buildMeta(v cluster.Vitals, self string) cluster.Meta {
	m := cluster.Meta{Weight: b.cfg.Board.Weight, Version: b.Version[:min(len(b.Version), cluster.MaxVersion)], Vitals: v, Flags: b.currentFlags()}
	m.LinkPort = uint16(b.link.Addr().(*net.TCPAddr).Port)
	host, _, err := net.SplitHostPort(self)
	if err == nil {
		m.HTTPURL = urlOf("http", b.front.Addr(), host)
		m.ConsoleURL = urlOf(b.consoleScheme(), b.console.Addr(), host)
	}
	return m
}

// urlOf returns the URL of a listener: with its own address or, if it listens on
// every address, with host. It leaves out the default port.
func urlOf(scheme string, listener net.Addr, host string) string {
	addr := listener.(*net.TCPAddr)
	if !addr.IP.IsUnspecified() {
		host = addr.IP.String()
	}
	if addr.Port != map[string]int{"http": 80, "https": 443}[scheme] {
		return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
	}
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		host = "[" + host + "]"
	}
	return scheme + "://" + host
}

// watchPi reads the health of a Raspberry Pi, and logs changes, until ctx ends.
func (b *board) watchPi(ctx context.Context) {
	folder := ""
	if b.cfg.Orders.Enabled && b.orders != nil {
		folder = b.cfg.Orders.Directory
		if real, err := filepath.EvalSymlinks(folder); err == nil {
			folder = real // the mount table has no links
		}
	}
	reader := host.NewPiReader(os.DirFS("/"), folder, func() (int64, bool) { return host.FreeSpace(folder) })
	repeatEvery(ctx, piReadInterval, func() {
		health := reader.Read()
		if last := b.pi.Swap(&health); last == nil || *last != health {
			for _, notice := range piNotices(b.cfg.Board.Name, health) {
				b.log.Warn(notice)
			}
		}
	})
}

// collectNotices returns what an operator at the console must know about this board, a
// sentence each.
func (b *board) collectNotices() []string {
	var all []string
	name := b.cfg.Board.Name
	faults := cluster.Faults(b.faults.Load())
	addIf := func(isTrue bool, notice string) {
		if isTrue {
			all = append(all, notice)
		}
	}
	addIf(faults&cluster.CutOff != 0, name+" reaches only half of its rack or less: it asks the origin before it shows a stored page.")
	addIf(faults&cluster.OriginDown != 0, "The origin "+strings.Join(b.sites.Down(), ", ")+" does not answer as it should: stored pages are shown as long as their rules allow.")
	addIf(faults&cluster.NameTaken != 0, "Another board uses the name "+name+": give one of them another [board] name.")
	addIf(faults&cluster.ClockNotSet != 0 && !b.clockState().Set,
		"The clock of "+name+" is not set: no time server has answered, or too few agree. Check its network, and the time servers in [network] ntp.")
	all = append(all, piNotices(name, b.piHealth())...)
	if text := oldKeysNotice(b.cfg.Rack); text != "" {
		all = append(all, name+" "+text)
	}
	exposed, _ := b.cfg.FindExposed(b.ConfigFile)
	for _, text := range exposed {
		all = append(all, "On "+name+" "+text+".")
	}
	addIf(b.cardUnusable.Load(), "The card of "+name+" cannot be used: it serves pages and accepts no orders. Its log has the reason.")
	if b.CardHost != nil {
		all = append(all, b.CardHost.Notices()...)
	}
	if b.certs != nil {
		all = append(all, b.certs.Notices()...)
	}
	return append(all, b.orders.notices(name)...)
}

// piNotices returns what to do about a Pi's faults, a sentence each.
func piNotices(board string, h host.PiHealth) []string {
	var all []string
	if h.PowerLow {
		all = append(all, "The power supply of "+board+" is too weak: use one of 1 A or more, and a short cable.")
	}
	if h.TooHot {
		all = append(all, board+" is hotter than 80 °C and slows down: give it air.")
	}
	if h.Card != "" {
		all = append(all, "The card of "+board+" "+h.Card+".")
	}
	return all
}

// oldKeysNotice says that a change of the rack key has not ended; "" if it has.
func oldKeysNotice(cfg config.RackSettings) string {
	if len(cfg.OldKeys) == 0 {
		return ""
	}
	return "also accepts the rack keys under old_keys: who has one, such as a thief, can join. Run \"bramble rekey\" again, or take them out."
}
