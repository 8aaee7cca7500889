package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"bramble/node/config"
)

// helpColumn is the column where the text beside a flag begins, helpWidth where
// it ends.
const (
	helpColumn = 18
	helpWidth  = 78
)

const markdownFlag = "--markdown" // makes "bramble help" print the reference of all commands

// printHelp prints the overview, the help of one command, or the reference of
// all commands as Markdown. It returns the exit code.
func printHelp(args []string, w world) int {
	switch {
	case len(args) == 0:
		fmt.Fprint(w.out, overviewText())
		return exitOK
	case args[0] == markdownFlag:
		fmt.Fprint(w.out, markdownReference())
		return exitOK
	}
	c, err := findCommand(args[0])
	if err != nil {
		printError(w, "bramble: "+err.Error())
		return exitUsage
	}
	fmt.Fprint(w.out, c.helpText())
	return exitOK
}

// overviewText is the output of "bramble" alone.
func overviewText() string {
	var b strings.Builder
	b.WriteString(`Bramble makes a rack of Raspberry Pis serve one shop.

Usage: bramble COMMAND [flags]

Commands:
`)
	for _, c := range allCommands() {
		fmt.Fprintf(&b, "  %-10s  %s\n", c.name, c.short)
	}
	b.WriteString(`
Exit status: 0 on success, 1 if the command failed, 2 for a mistake in the
command line or in a configuration file, 3 if what was asked for is in progress,
130 after a second Ctrl-C.

To see a rack on this machine:   bramble lab
For one command and its flags:   bramble help COMMAND
For all of them as Markdown:     bramble help --markdown
`)
	return b.String()
}

// markdownReference is the reference of all commands in README.md.
func markdownReference() string {
	var b strings.Builder
	fmt.Fprintf(&b, "```text\n%s```\n", overviewText())
	for _, c := range allCommands() {
		fmt.Fprintf(&b, "\n## bramble %s\n\n```text\n%s```\n", c.name, c.helpText())
	}
	return b.String()
}

// helpText is the output of "bramble help NAME".
func (c command) helpText() string {
	fs := newFlagSet(c)
	c.flags(fs)
	return fs.helpText()
}

// helpText is the output of --help.
func (fs *flagSet) helpText() string {
	var b, flags strings.Builder
	fs.VisitAll(func(f *flag.Flag) { flags.WriteString(flagHelp(f)) })
	usage := "Usage: bramble " + fs.c.name
	if flags.Len() > 0 {
		usage += " [flags]"
	}
	if fs.c.args != "" {
		usage += " " + fs.c.args
	}
	fmt.Fprintf(&b, "%s\n\n%s\n", usage, strings.TrimSpace(fs.c.long))
	if fs.c.examples != "" {
		b.WriteString("\nExamples:\n" + strings.Trim(fs.c.examples, "\n") + "\n")
	}
	if flags.Len() > 0 {
		b.WriteString("\nFlags:\n" + flags.String())
	}
	return b.String()
}

// flagHelp is the help of one flag, with its text in a column of its own.
func flagHelp(f *flag.Flag) string {
	value, text := flag.UnquoteUsage(f)
	head := "  --" + f.Name
	if value != "" {
		head += " " + value
	}
	if standard := f.DefValue; standard != "" && standard != "false" && standard != "0" {
		if hours, ok := strings.CutSuffix(standard, "h0m0s"); ok {
			standard = hours + "h"
		}
		text += " (default " + standard + ")"
	}
	var b strings.Builder
	if len(head) >= helpColumn-1 {
		b.WriteString(head + "\n")
		head = ""
	}
	for _, line := range wrapText(text, helpWidth-helpColumn) {
		fmt.Fprintf(&b, "%-*s%s\n", helpColumn, head, line)
		head = ""
	}
	return b.String()
}

// wrapText breaks a text into lines of at most width, where its words allow it.
func wrapText(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// flagSet is the standard one, except that flags may follow other words, as in
// "bramble drain board-2 --undo", and that it has its own help and errors.
type flagSet struct {
	*flag.FlagSet
	c command
}

func newFlagSet(c command) *flagSet {
	fs := &flagSet{flag.NewFlagSet(c.name, flag.ContinueOnError), c}
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	return fs
}

// parseArgs parses args and returns the words that are not flags. The error is
// flag.ErrHelp for -h and --help.
func (fs *flagSet) parseArgs(args []string) (words []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, fs.explainParseError(err)
		}
		left := fs.Args()
		if parsed := len(args) - len(left); parsed > 0 && args[parsed-1] == "--" {
			return append(words, left...), fs.refuseEmpty()
		}
		if len(left) == 0 {
			return words, fs.refuseEmpty()
		}
		words, args = append(words, left[0]), left[1:]
	}
}

// explainParseError suggests a flag for an unknown one.
func (fs *flagSet) explainParseError(err error) error {
	_, name, unknown := strings.Cut(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return fs.explainBadValue(err)
	}
	if _, err := strconv.ParseFloat(name, 64); err == nil {
		return usagef("-%s is read as a flag: write -- before a negative number, as in \"-- -%s\"", name, name)
	}
	var names []string
	fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	if near, ok := config.Nearest(name, names); ok {
		return usagef("there is no flag --%s; did you mean --%s?", name, near)
	}
	return usagef("there is no flag --%s", name)
}

// explainBadValue names the kind of value that a flag takes, where the standard
// library only reports "parse error".
func (fs *flagSet) explainBadValue(err error) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return usagef("--%s needs a value", name)
	}
	_, name, ok := strings.Cut(text, " for flag -")
	name, _, cut := strings.Cut(name, ":")
	f := fs.Lookup(name)
	if !ok || !cut || f == nil {
		return usagef("%v", err)
	}
	value, _, _ := strings.Cut(strings.TrimPrefix(text, "invalid value "), " for flag -")
	kind := "a valid value"
	if get, ok := f.Value.(flag.Getter); ok {
		switch get.Get().(type) {
		case int:
			kind = "a whole number"
		case time.Duration:
			kind = "a duration; write one such as 48h or 30m"
		}
	}
	return usagef("--%s: %s is not %s", name, value, kind)
}

// refuseForeign returns an error if a flag was given that the action does not use: one whose
// help begins with other actions, as in "stock, times: …".
func (fs *flagSet) refuseForeign(action string) (err error) {
	fs.Visit(func(f *flag.Flag) {
		if own := regexp.MustCompile(`^([a-z]+(?:, [a-z]+)*): `).FindStringSubmatch(f.Usage); own != nil && !slices.Contains(strings.Split(own[1], ", "), action) {
			err = usagef("--%s is only for %s: %s does not use it", f.Name, own[1], action)
		}
	})
	return err
}

// refuseBeside returns an error if one of the others was given with the flag chosen, which
// does not use them.
func (fs *flagSet) refuseBeside(chosen string, others ...string) (err error) {
	fs.Visit(func(f *flag.Flag) {
		if slices.Contains(others, f.Name) {
			err = usagef("--%s has no effect with --%s: omit one of them", f.Name, chosen)
		}
	})
	return err
}

// refuseEmpty returns an error if a flag was given an empty text, as by a script whose
// variable is empty.
func (fs *flagSet) refuseEmpty() (err error) {
	fs.Visit(func(f *flag.Flag) {
		if get, ok := f.Value.(flag.Getter); ok && get.Get() == "" {
			err = usagef("--%s is empty: give it a value, or omit it", f.Name)
		}
	})
	return err
}

// chooseAction returns the action that a command line begins with and the arguments of the
// action. choices names the actions for a message, and counts has the number of arguments of
// each, -1 for any number.
func (fs *flagSet) chooseAction(args []string, choices string, counts map[string]int) (action string, rest []string, err error) {
	if len(args) == 0 {
		return "", nil, usagef("name an action: %s", choices)
	}
	n, known := counts[args[0]]
	switch {
	case !known:
		return "", nil, usagef("unknown action %q: it must be %s", args[0], choices)
	case n >= 0 && len(args)-1 != n:
		return "", nil, usagef("%s needs %s, not %d", args[0], pluralize(n, "argument", "arguments"), len(args)-1)
	}
	return args[0], args[1:], fs.refuseForeign(args[0])
}

// openInput opens a file that a command line names, "-" for standard input. what is in it is
// for a message.
func openInput(w world, path, what string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(w.in), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", what, err)
	}
	return f, nil
}

// pauseFor waits between two requests, until the context ends at most.
func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
