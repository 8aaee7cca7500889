package main

import (
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
