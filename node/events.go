package node

import (
	"time"

	"bramble/cluster"
	"bramble/cluster/purge"
	"bramble/node/console"
)

// toConsoleEvent is a membership event in the console's words.
func toConsoleEvent(e cluster.Event) console.Event {
	kind := e.Kind.String()
	if e.Kind == cluster.Changed {
		kind = "state"
	}
	return console.Event{At: e.At, Kind: kind, Board: e.Board, Text: e.Text}
}

// purgeEvent is a purge that this board has obeyed.
func purgeEvent(board string, p purge.Purge, dropped int, at time.Time) console.Event {
	return console.Event{At: at, Kind: "purge", Board: board, Text: purgeText(p, dropped)}
}
