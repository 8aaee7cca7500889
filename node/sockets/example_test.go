//go:build unix

package sockets_test

import (
	"fmt"
	"os"

	"bramble/node/sockets"
)

// A server that can be replaced by a newer program without refusing a client.
func Example() {
	set, err := sockets.Inherit(os.Getenv(sockets.Env)) // "" unless an earlier program called Exec
	if err != nil {
		fmt.Println(err)
		return
	}
	defer set.Close()
	listener, err := set.Listen("pages", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	// … serve until a signal asks for the new program …
	listener.Close()
	fmt.Println("the socket stays open:", set.PassesOn())
	// set.Exec(path, os.Args, os.Environ()) would now start the program at path,
	// and its set.Listen("pages", …) would return the same socket.

	// Output: the socket stays open: true
}
