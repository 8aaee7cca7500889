package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

func versionCommand() command {
	return command{
		name:  "version",
		short: "print the version of this program",
		long:  `Print the version or commit of this program, and the Go version.`,
		flags: func(*flagSet) runner {
			return func(_ context.Context, w world, _ []string) error {
				_, err := fmt.Fprintf(w.out, "bramble %s, %s %s/%s\n", programVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
				return err
			}
		},
	}
}

// build is an optional name of the build, set only by the linker:
// go build -ldflags "-X main.build=NAME".
var build string

// programVersion returns the version that the build recorded: a name, a released version, or one that
// Go makes of the commit.
func programVersion() string {
	if build != "" {
		return build
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return "devel"
}
