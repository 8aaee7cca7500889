package node

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"bramble/cluster"
	"bramble/node/pi"
)

// piReadInterval is how often the machine's own health is read: some file reads, of
// what changes slowly and must be seen by a person.
const piReadInterval = 3 * time.Second

// watchPi reads the machine's health until ctx ends.
func (b *board) watchPi(ctx context.Context) {
	folder := ""
	if b.cfg.Orders.Enabled && b.counter != nil {
		folder = b.cfg.Orders.Directory
		if real, err := filepath.EvalSymlinks(folder); err == nil {
			folder = real // the mount table knows no links
		}
	}
	reader := pi.NewReader(os.DirFS("/"), folder, func() (int64, bool) { return pi.Free(folder) })
	tick := time.NewTicker(piReadInterval)
	defer tick.Stop()
	for {
		h := reader.Read()
		if was := b.pi.Swap(&h); was == nil || *was != h {
			b.logPiHealth(h)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// logPiHealth puts into the log what has changed.
func (b *board) logPiHealth(h pi.Health) {
	for _, notice := range piNotices(b.cfg.Board.Name, h) {
		b.log.Warn(notice)
	}
}

// piFaults are the faults that a reading stands for.
func piFaults(h pi.Health) cluster.Fault {
	var faults cluster.Fault
	if h.PowerLow {
		faults |= cluster.PowerLow
	}
	if h.TooHot {
		faults |= cluster.TooHot
	}
	if h.Card != "" {
		faults |= cluster.CardFailing
	}
	return faults
}

// piNotices say what to do about a reading.
func piNotices(board string, h pi.Health) []string {
	var all []string
	if h.PowerLow {
		all = append(all, "The supply of "+board+" is too weak: use one of 1 A or more, and a short cable.")
	}
	if h.TooHot {
		all = append(all, board+" is hotter than 80 °C and slows down: give it air.")
	}
	if h.Card != "" {
		all = append(all, "The card of "+board+" "+h.Card+".")
	}
	return all
}

// piHealth is the last reading.
func (b *board) piHealth() pi.Health {
	if h := b.pi.Load(); h != nil {
		return *h
	}
	return pi.Health{}
}
