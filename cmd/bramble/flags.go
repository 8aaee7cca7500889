package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"bramble/node/config"
)

// flagSet is the standard one, with flags allowed after other words, as in
// "bramble drain board-2 --undo", and with help in this program's manner.
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

// parseArgs parses args and returns the words that are no flags. The error is
// flag.ErrHelp if help was asked for.
func (fs *flagSet) parseArgs(args []string) (words []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, fs.explainParseError(err)
		}
		left := fs.Args()
		if taken := len(args) - len(left); taken > 0 && args[taken-1] == "--" {
			return append(words, left...), nil
		}
		if len(left) == 0 {
			return words, nil
		}
		words, args = append(words, left[0]), left[1:]
	}
}

// explainParseError guesses what an unknown flag should have been.
func (fs *flagSet) explainParseError(err error) error {
	_, name, unknown := strings.Cut(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return fs.explainBadValue(err)
	}
	var names []string
	fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	if near, ok := config.Nearest(name, names); ok {
		return usagef("there is no flag --%s; did you mean --%s?", name, near)
	}
	return usagef("there is no flag --%s", name)
}

// explainBadValue says of a flag's value what was wanted, where the standard library
// says "parse error".
func (fs *flagSet) explainBadValue(err error) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return usagef("--%s wants a value behind it", name)
	}
	_, name, ok := strings.Cut(text, " for flag -")
	name, _, cut := strings.Cut(name, ":")
	f := fs.Lookup(name)
	if !ok || !cut || f == nil {
		return usagef("%v", err)
	}
	value, _, _ := strings.Cut(strings.TrimPrefix(text, "invalid value "), " for flag -")
	want := "value of the right kind"
	if get, ok := f.Value.(flag.Getter); ok {
		switch get.Get().(type) {
		case int:
			want = "whole number"
		case time.Duration:
			want = `duration, such as 48h or 30m`
		}
	}
	return usagef("--%s: %s is no %s", name, value, want)
}

// helpColumn is where the text beside a flag begins, helpWidth where it ends.
const (
	helpColumn = 18
	helpWidth  = 78
)

// helpText is what "bramble help NAME" prints.
func (fs *flagSet) helpText() string {
	var b, flags strings.Builder
	fs.VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		head := "  --" + f.Name
		if value != "" {
			head += " " + value
		}
		if f.DefValue != "" && f.DefValue != "false" {
			text += " (default " + f.DefValue + ")"
		}
		if len(head) >= helpColumn-1 {
			flags.WriteString(head + "\n")
			head = ""
		}
		for _, line := range wrapText(text, helpWidth-helpColumn) {
			fmt.Fprintf(&flags, "%-*s%s\n", helpColumn, head, line)
			head = ""
		}
	})
	usage := "Usage: bramble " + fs.c.name
	if flags.Len() > 0 {
		usage += " [flags]"
	}
	if fs.c.args != "" {
		usage += " " + fs.c.args
	}
	fmt.Fprintf(&b, "%s\n\n%s\n", usage, strings.TrimSpace(fs.c.long))
	if flags.Len() > 0 {
		b.WriteString("\nFlags:\n" + flags.String())
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

// refuseArgs refuses words that a command does not take.
func refuseArgs(args []string) error {
	if len(args) > 0 {
		return usagef("it takes only flags, not %q", args[0])
	}
	return nil
}
