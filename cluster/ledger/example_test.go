package ledger_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"bramble/cluster/ledger"
	"bramble/cluster/ledger/ledgertest"
)

// A ledger of one board: open it, run it, submit commands, and read what the state
// machine made of them.
func Example() {
	dir, err := os.MkdirTemp("", "ledger-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	network := ledgertest.New() // a real rack has a Transport over TLS
	diary := &ledgertest.Diary{}
	l, err := ledger.Open(ledger.Config{
		Name:         "board-1",
		Dir:          dir,
		Boards:       1, // a rack of one founds its ledger at once
		StateMachine: diary,
		Transport:    network.TransportOf("board-1"),
		Live:         func() []string { return network.Boards("board-1") },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	network.Join("board-1", l)
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()

	for _, command := range []string{"one tea", "one coffee"} {
		reply, err := submitWhenFounded(ctx, l, command)
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Printf("%s: %s\n", command, reply)
	}
	// Barrier makes a read linearizable: everything acknowledged is applied here.
	if err := l.Barrier(ctx); err != nil {
		fmt.Println(err)
	}
	for _, note := range diary.Notes() {
		fmt.Println("applied", note.Text)
	}
	stop()
	if err := <-ended; err != nil {
		fmt.Println(err)
	}

	// Output:
	// one tea: 1
	// one coffee: 2
	// applied one tea
	// applied one coffee
}

// submitWhenFounded retries while the command was not committed: a board needs
// some seconds to found its ledger and to elect a leader.
func submitWhenFounded(ctx context.Context, l *ledger.Ledger, command string) ([]byte, error) {
	for {
		reply, _, err := l.Submit(ctx, []byte(command))
		if err == nil || ctx.Err() != nil || l.Status().Leading {
			return reply, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}
