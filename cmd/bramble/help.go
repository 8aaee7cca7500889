package main

import (
	"flag"
	"fmt"
	"strings"
)

// helpColumn is the column where the text beside a flag begins, helpWidth where
// it ends.
const (
	helpColumn = 18
	helpWidth  = 78
)

// markdownFlag makes "bramble help" print the reference of all commands.
const markdownFlag = "--markdown"

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
