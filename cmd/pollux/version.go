package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version returns the module's version that the build recorded, or "devel".
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

type versionCmd struct{}

func (versionCmd) Run(std streams) error {
	_, err := fmt.Fprintf(std.out, "pollux %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// versionFlag is --version.
type versionFlag bool

// BeforeReset is called by the parser if the flag was given.
func (versionFlag) BeforeReset(std streams) error { return versionShown{versionCmd{}.Run(std)} }

// versionShown ends the parser's work after the version is printed; it wraps the error of
// printing, or nil.
type versionShown struct{ error }

// Error implements error.
func (v versionShown) Error() string { return "the version was printed" }
