package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// version returns the module's version that the build recorded, or "devel".
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return devel
	}
	return versionOf(info)
}

const devel = "devel"

func versionOf(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return devel
}

// versionLines returns what identifies a build in a bug report: the version and, as far as they are
// recorded, the commit, whether the source had been changed, the commit's time, and the
// version of the library.
func versionLines(info *debug.BuildInfo) []string {
	lines := []string{fmt.Sprintf("pollux %s %s %s/%s", versionOf(info), runtime.Version(), runtime.GOOS, runtime.GOARCH)}
	set := make(map[string]string)
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	if commit := set["vcs.revision"]; commit != "" {
		if set["vcs.modified"] == "true" {
			commit += ", modified"
		}
		lines = append(lines, "commit "+commit)
	}
	if at := set["vcs.time"]; at != "" {
		lines = append(lines, "committed at "+at)
	}
	for _, dep := range info.Deps {
		if dep.Path == library && dep.Version != "" && dep.Version != "(devel)" {
			lines = append(lines, "library "+dep.Version)
		}
	}
	return lines
}

// library is the module that the program is made with.
const library = "github.com/pollux-io/pollux"

type versionCmd struct{}

func (versionCmd) Run(std streams) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	_, err := fmt.Fprintln(std.out, strings.Join(versionLines(info), "\n"))
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
