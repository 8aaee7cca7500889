// Command bramble is the only program of the project: it runs a board, runs a
// whole rack on one machine, and has the commands of an operator. This package
// reads flags and connects the other packages; near relatives among the
// subcommands share a file.
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
	"bramble/node/shop"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailed  = 1 // the command was tried and failed
	exitUsage   = 2 // the command line or a configuration file has a mistake
	exitPending = 3 // what was asked for is in progress; the same command later shows it
)

func main() {
	info, err := os.Stderr.Stat()
	os.Exit(runCommand(context.Background(), os.Args[1:], world{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv,
		terminal: err == nil && info.Mode()&os.ModeCharDevice != 0,
	}))
}

// world is the environment of a command: all its inputs and outputs besides its flags.
type world struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	terminal bool // err is a terminal: long lines are wrapped
}

type command struct {
	name     string
	args     string                // what follows the flags on the command line; "" = nothing may
	short    string                // one line for the list of all commands
	long     string                // for "bramble help NAME", in lines of at most 78 columns
	examples string                // command lines, each with two spaces in front
	flags    func(*flagSet) runner // declares the flags and returns the function that runs the command
}

// runner runs a command; args are the words that are not flags.
type runner func(ctx context.Context, w world, args []string) error

// allCommands lists all subcommands in the order of the help.
func allCommands() []command {
	return []command{
		labCommand(), initCommand(), nodeCommand(), keyCommand(), configCommand(),
		statusCommand(), purgeCommand(), drainCommand(),
		ordersCommand(), saleCommand(), drawCommand(), announceCommand(), fulfilmentCommand(),
		ledgerCommand(),
		backupCommand(), restoreCommand(),
		consoleCommand(), locateCommand(), panelCommand(), imageCommand(), updateCommand(), rekeyCommand(), cardInitCommand(), versionCommand(),
	}
}

// usageError is a mistake in the command line.
type usageError struct{ text string }

func (u *usageError) Error() string { return u.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// pendingError: what was asked for is in progress.
type pendingError struct{ text string }

func (p *pendingError) Error() string { return p.text }

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
	case err == nil && c.args == "" && len(left) > 0:
		err = usagef("unexpected argument %q: this command takes only flags", left[0])
	case err == nil:
		err = do(ctx, w, left)
	}
	return exitCode(w, c.name, err)
}

// exitCode prints an error and returns the exit code.
func exitCode(w world, name string, err error) int {
	var catalogue *shop.CatalogueError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, node.ErrHalt):
		return cardinit.ExitHalt
	case errors.Is(err, node.ErrTrial):
		return cardinit.ExitTry
	case errors.As(err, new(*pendingError)):
		printError(w, fmt.Sprintf("bramble %s: %v", name, err))
		return exitPending
	case errors.As(err, new(*usageError)):
		printError(w, fmt.Sprintf("bramble %s: %v\nFor help: bramble help %s", name, err, name))
		return exitUsage
	case errors.As(err, new(*config.Errors)): // its lines begin with the file's name, which editors can follow
		fmt.Fprintln(w.err, err)
		return exitUsage
	case errors.As(err, &catalogue):
		fmt.Fprintln(w.err, catalogue)
		return exitUsage
	default:
		printError(w, fmt.Sprintf("bramble %s: %v", name, err))
		return exitFailed
	}
}

// printError prints an error, wrapped if it goes to a terminal. In a file or a
// log it stays one line.
func printError(w world, text string) {
	if !w.terminal {
		fmt.Fprintln(w.err, text)
		return
	}
	for _, line := range strings.Split(text, "\n") {
		fmt.Fprintln(w.err, strings.Join(wrapText(line, helpWidth), "\n"))
	}
}

// printNote prints something to know besides the result, wrapped.
func printNote(w world, text string) {
	fmt.Fprintln(w.err, strings.Join(wrapText(text, helpWidth), "\n"))
}

// findCommand returns the command of a name, or an error with a guess.
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
