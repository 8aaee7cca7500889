// Command bramble is the one program of the project: it runs a board, a whole
// rack on one machine, and what an operator does to either. This package only
// reads flags and joins parts; a file holds a subcommand.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"bramble/images/cardinit"
	"bramble/node"
	"bramble/node/config"
)

// What the program exits with.
const (
	exitOK     = 0
	exitFailed = 1 // it was tried and did not work
	exitUsage  = 2 // the command line or the configuration has a mistake
)

func main() {
	info, err := os.Stderr.Stat()
	os.Exit(runCommand(context.Background(), os.Args[1:], world{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv,
		terminal: err == nil && info.Mode()&os.ModeCharDevice != 0,
	}))
}

// world is what a command touches besides its flags.
type world struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	terminal bool // err is one: long lines are broken between words
}

// command is one subcommand.
type command struct {
	name  string
	args  string // what follows the flags on the command line
	short string // for the list of all commands
	long  string // for "bramble help NAME"; lines are broken already
	// flags declares the flags and returns what runs when they are read.
	flags func(*flagSet) runner
}

// runner carries a command out; args is what was left beside the flags.
type runner func(ctx context.Context, w world, args []string) error

// allCommands lists all subcommands in the order of the help.
func allCommands() []command {
	return []command{
		labCommand(), nodeCommand(), keyCommand(), configCommand(),
		statusCommand(), purgeCommand(), drainCommand(),
		ordersCommand(), saleCommand(), drawCommand(), announceCommand(),
		locateCommand(), panelCommand(), imageCommand(), updateCommand(), cardInitCommand(), versionCommand(),
	}
}

// usageError is a mistake in the command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// runCommand carries out one command line and returns what to exit with.
func runCommand(ctx context.Context, args []string, w world) int {
	if len(args) == 0 {
		fmt.Fprint(w.out, overviewText())
		return exitOK
	}
	name, rest := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		return printHelp(rest, w)
	case "-version", "--version":
		name = "version"
	}
	c, err := findCommand(name)
	if err != nil {
		printError(w, "bramble: "+err.Error())
		return exitUsage
	}
	fs := newFlagSet(c)
	do := c.flags(fs)
	left, err := fs.parseArgs(rest)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(w.out, fs.helpText())
		return exitOK
	case err == nil:
		err = do(ctx, w, left)
	}
	return exitCode(w, c.name, err)
}

// exitCode tells an error and returns what to exit with.
func exitCode(w world, name string, err error) int {
	var usage *usageError
	var mistakes *config.Errors
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, node.ErrHalt):
		return cardinit.ExitHalt
	case errors.Is(err, node.ErrTrial):
		return cardinit.ExitTry
	case errors.As(err, &usage):
		printError(w, fmt.Sprintf("bramble %s: %v\nFor its flags: bramble help %s", name, err, name))
		return exitUsage
	case errors.As(err, &mistakes): // its lines begin with the file's name, as editors like it
		fmt.Fprintln(w.err, err)
		return exitUsage
	default:
		printError(w, fmt.Sprintf("bramble %s: %v", name, err))
		return exitFailed
	}
}

// printError prints lines so that they fit a terminal. In a file or a log an
// error stays one line.
func printError(w world, text string) {
	if !w.terminal {
		fmt.Fprintln(w.err, text)
		return
	}
	for _, line := range strings.Split(text, "\n") {
		fmt.Fprintln(w.err, strings.Join(wrapText(line, helpWidth), "\n"))
	}
}

// findCommand returns the command of a name, or an error that guesses.
func findCommand(name string) (command, error) {
	var names []string
	for _, c := range allCommands() {
		if c.name == name {
			return c, nil
		}
		names = append(names, c.name)
	}
	if near, ok := config.Nearest(name, names); ok {
		return command{}, usagef("there is no command %q; did you mean %q?", name, near)
	}
	return command{}, usagef("there is no command %q; bramble help lists them", name)
}

// printHelp prints the overview, or what one command does.
func printHelp(args []string, w world) int {
	if len(args) == 0 {
		fmt.Fprint(w.out, overviewText())
		return exitOK
	}
	c, err := findCommand(args[0])
	if err != nil {
		printError(w, "bramble: "+err.Error())
		return exitUsage
	}
	fs := newFlagSet(c)
	c.flags(fs)
	fmt.Fprint(w.out, fs.helpText())
	return exitOK
}

// overviewText is what "bramble" alone prints.
func overviewText() string {
	var b strings.Builder
	b.WriteString(`Bramble makes a rack of Raspberry Pis serve one shop.

Usage: bramble COMMAND [flags]

`)
	for _, c := range allCommands() {
		fmt.Fprintf(&b, "  %-8s  %s\n", c.name, c.short)
	}
	b.WriteString(`
To see it work on this machine:   bramble lab
For a command's flags:            bramble help COMMAND
`)
	return b.String()
}
