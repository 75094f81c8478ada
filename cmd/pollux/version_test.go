package main

import (
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

func TestVersionLines(t *testing.T) {
	vcs := func(modified string) []debug.BuildSetting {
		return []debug.BuildSetting{
			{Key: "vcs", Value: "git"},
			{Key: "vcs.revision", Value: "0123456789abcdef"},
			{Key: "vcs.time", Value: "2026-01-02T03:04:05Z"},
			{Key: "vcs.modified", Value: modified},
		}
	}
	for _, test := range []struct {
		name    string
		info    debug.BuildInfo
		version string
		more    []string
	}{
		{"nothing recorded", debug.BuildInfo{}, "devel", nil},
		{
			"from a clone",
			debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Deps: []*debug.Module{{Path: library, Version: "(devel)"}}, Settings: vcs("false")},
			"devel",
			[]string{"commit 0123456789abcdef", "committed at 2026-01-02T03:04:05Z"},
		},
		{
			"changed",
			debug.BuildInfo{Settings: vcs("true")},
			"devel",
			[]string{"commit 0123456789abcdef, modified", "committed at 2026-01-02T03:04:05Z"},
		},
		{
			"installed",
			debug.BuildInfo{Main: debug.Module{Version: "v0.2.0"}, Deps: []*debug.Module{{Path: "example.org/other", Version: "v3.0.0"}, {Path: library, Version: "v0.1.4"}}},
			"v0.2.0",
			[]string{"library v0.1.4"},
		},
	} {
		lines := versionLines(&test.info)
		if !strings.HasPrefix(lines[0], "pollux "+test.version+" go") || !slices.Equal(lines[1:], test.more) {
			t.Errorf("%s: %q", test.name, lines)
		}
	}
}
