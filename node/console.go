package node

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"bramble/cache"
	"bramble/cluster"
	"bramble/cluster/link"
	"bramble/cluster/purge"
	"bramble/gpio"
	"bramble/node/config"
	"bramble/node/console"
)

// defaultBarLamps is the bar of a panel that nobody has configured.
const defaultBarLamps = 5

// consoleSource is the rack as this board sees it, and this board's hand on it: the
// console's Source and Control.
type consoleSource struct {
	*console.Broadcaster
	version      string
	members      *cluster.Members
	pages        *rackHandler
	drain        func(undo bool)
	locate       func(undo bool)
	panelInputOf func(cluster.Board) gpio.Input // what a board's lamps tell
	canSteer     bool
	notices      func() []string
}

// Snapshot reads what gossip and this board know; it asks nobody.
func (v *consoleSource) Snapshot() console.Snapshot {
	s := console.Snapshot{At: time.Now().UTC(), Version: v.version, Observer: v.pages.self, CanSteer: v.canSteer, Notices: v.notices()}
	ring := v.members.Ring()
	shares := ring.Shares()
	for _, b := range v.members.Boards() {
		s.Boards = append(s.Boards, toBoardView(b, shares[b.Name], v.panelInputOf(b)))
	}
	for _, arc := range ring.Arcs() {
		s.Ring = append(s.Ring, console.RingArc{From: arc.From, To: arc.To, Board: arc.Board})
	}
	return s
}

func toBoardView(b cluster.Board, share float64, lamps gpio.Input) console.BoardView {
	vitals := b.Meta.Vitals
	view := console.BoardView{
		Name: b.Name, State: vitals.State.String(), Faults: vitals.Faults.Names(), Self: b.Self,
		HTTPURL: b.Meta.HTTPURL, ConsoleURL: b.Meta.ConsoleURL, RingShare: share,
		Vitals: console.VitalsView{
			HitsPerSecond: float64(vitals.HitsPerSecond), HitRatio: float64(vitals.HitRatio), CPU: float64(vitals.CPU),
			MemoryBytes: vitals.Memory, Connections: vitals.Connections,
			CacheBytes: vitals.CacheBytes, CacheBudgetBytes: vitals.CacheBudget,
			UptimeSeconds: int64(vitals.Uptime / time.Second),
		},
	}
	if !b.Alive {
		view.State, view.Faults, view.Vitals = "dead", nil, console.VitalsView{}
		if b.Left {
			view.State = "left"
		}
		lamps = gpio.Input{Health: gpio.Stopped}
	}
	view.Panel = gpio.Render(lamps, defaultBarLamps)
	return view
}

// vitalsToPanel is what a board's vitals mean to its panel.
func vitalsToPanel(v cluster.Vitals) gpio.Input {
	in := gpio.Input{Load: float64(v.Load)}
	switch v.State {
	case cluster.Starting:
		in.Health = gpio.Starting
	case cluster.Joining:
		in.Health = gpio.Joining
	case cluster.Serving:
		in.Health = gpio.Serving
	case cluster.Draining, cluster.Stopping:
		in.Health = gpio.Draining
	case cluster.Drained:
		in.Health = gpio.Drained
	}
	for _, pair := range [...]struct {
		told cluster.Fault
		lamp gpio.FaultCode
	}{
		{cluster.PeerLost, gpio.PeerLost},
		{cluster.OriginDown, gpio.OriginDown},
		{cluster.ClockNotSet, gpio.ClockUnset},
		{cluster.CutOff, gpio.NoMajority},
		{cluster.CardFailing, gpio.CardFailing},
		{cluster.NoMajority, gpio.NoMajority},
		{cluster.PowerLow, gpio.PowerLow},
		{cluster.TooHot, gpio.TooHot},
	} {
		if v.Faults&pair.told != 0 {
			in.Faults = in.Faults.With(pair.lamp)
		}
	}
	return in
}

// Purge tells the whole rack to forget something.
func (v *consoleSource) Purge(ctx context.Context, p console.PurgeRequest) (console.PurgeResult, error) {
	purges, err := v.toPurges(p)
	if err != nil {
		return console.PurgeResult{}, fmt.Errorf("%w: %w", console.ErrBadRequest, err)
	}
	for _, purge := range purges {
		if err := v.pages.purger.Issue(purge); err != nil {
			return console.PurgeResult{}, fmt.Errorf("%w: %w", console.ErrBadRequest, err)
		}
	}
	obeyed, absent := v.pages.purger.Spread(ctx, purgeReplyWait)
	obeyed = append(obeyed, v.pages.self)
	slices.Sort(obeyed)
	for _, b := range v.members.Boards() {
		if !b.Alive && !b.Left && !slices.Contains(absent, b.Name) {
			absent = append(absent, b.Name)
		}
	}
	slices.Sort(absent)
	return console.PurgeResult{Applied: obeyed, Absent: absent}, nil
}

// toPurges are what an operator's purge is to the rack. A path is a page of each
// of its sites.
func (v *consoleSource) toPurges(p console.PurgeRequest) ([]purge.Purge, error) {
	switch {
	case p.Tag != "":
		return []purge.Purge{{Kind: purge.Tag, Target: p.Tag, Soft: p.Soft}}, nil
	case p.URL == "":
		return []purge.Purge{{Kind: purge.All, Soft: p.Soft}}, nil
	}
	pages, err := v.pages.sites.PurgeKeys(p.URL)
	if err != nil {
		return nil, err
	}
	var list []purge.Purge
	for _, page := range pages {
		list = append(list, purge.Purge{Kind: purge.URL, Target: cache.KeyOf(page), Soft: p.Soft})
	}
	return list, nil
}

// Drain takes a board out of service, or puts it back.
func (v *consoleSource) Drain(ctx context.Context, board string, undo bool) error {
	return v.callBoard(ctx, board, undo, v.drain, drainPath)
}

// Locate has a board's health lamp blink, or stop that.
func (v *consoleSource) Locate(ctx context.Context, board string, undo bool) error {
	return v.callBoard(ctx, board, undo, v.locate, locatePath)
}

// callBoard does something on this board, or has another do it.
func (v *consoleSource) callBoard(ctx context.Context, board string, undo bool, here func(undo bool), path string) error {
	if board == v.pages.self {
		here(undo)
		return nil
	}
	boards := v.members.Boards()
	known := slices.IndexFunc(boards, func(b cluster.Board) bool { return b.Name == board })
	if known < 0 {
		return fmt.Errorf("%w: %q is none of this rack's boards", console.ErrUnknownBoard, board)
	}
	if !boards[known].Alive {
		return fmt.Errorf("%w: %s is not running", console.ErrUnavailable, board)
	}
	if undo {
		path += "?undo=1"
	}
	r, err := http.NewRequest(http.MethodPost, "https://board"+path, nil)
	if err != nil {
		return fmt.Errorf("asking %s: %w", board, err)
	}
	resp, err := v.pages.link.Control(ctx, board, r)
	if err != nil {
		return fmt.Errorf("%w: %w", console.ErrUnavailable, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("%w: %s answered with status %d", console.ErrUnavailable, board, resp.StatusCode)
	}
	return nil
}

// roster is who is in the rack, as the purges see it.
type roster struct {
	members     *cluster.Members
	join        int         // other boards' addresses in the configuration
	reachedPeer func() bool // another board was reached since the start
}

// Peers are the live boards without this one.
func (r roster) Peers() []link.Peer {
	var peers []link.Peer
	for _, b := range r.members.Boards() {
		if b.Alive && !b.Self && b.Link != "" {
			peers = append(peers, link.Peer{Name: b.Name, Addr: b.Link})
		}
	}
	return peers
}

// Known counts the boards that a majority is taken of. A board that was told of
// others and has met none since its start counts one of them: it cannot know
// what they have purged.
func (r roster) Known() int {
	_, known := r.members.Known()
	if known == 1 && r.join > 0 && !r.reachedPeer() {
		return 2
	}
	return known
}

// countOtherAddrs counts the join addresses that are not this board's own.
func countOtherAddrs(cfg config.RackSettings, self string) int {
	n := 0
	for _, addr := range cfg.Join {
		if addr != self {
			n++
		}
	}
	return n
}
