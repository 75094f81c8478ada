package main

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// modelOf returns the parser's model of all commands and flags.
func modelOf(t *testing.T) (*kong.Kong, *commands) {
	t.Helper()
	var c commands
	parser, err := kong.New(&c, kong.Name("pollux"))
	if err != nil {
		t.Fatal(err)
	}
	applyRules(parser.Model)
	return parser, &c
}

// The error of any flag of any command has the flag, the value, the accepted values, and
// a suggestion; and the suggestion is valid.
func TestFlagErrorsSuggestValidValue(t *testing.T) {
	parser, _ := modelOf(t)
	ruled := 0
	for _, command := range parser.Model.Children {
		for _, f := range command.Flags {
			kind := f.Target.Kind()
			isTime := f.Target.Type() == reflect.TypeFor[time.Duration]()
			name, values := "--"+f.Name, []string{}
			switch {
			case f.IsBool():
				values = []string{"maybe"}
			case isTime:
				values = []string{"7", "-1s", "-3", "soon", "1y", "", "99999999999999999999s"}
			case kind == reflect.Int:
				values = []string{"-1", "-99", "many", "1.5", "", "99999999999999999999", "9 9"}
			}
			if _, ok := rules[command.Name+" "+f.Name]; ok {
				ruled++
			}
			for _, v := range values {
				for _, args := range [][]string{{command.Name, name, v}, {command.Name, name + "=" + v}} {
					if f.IsBool() {
						args = []string{command.Name, name + "=" + v}
					}
					if v == "-1" && f.Target.CanInt() && rules[command.Name+" "+f.Name].least < 0 {
						continue
					}
					status, out, err := pollux(t, "", args...)
					shown := v
					if printableValue(v) != v {
						shown = printableValue(v)
					}
					if status != exitUsage || out != "" || strings.Count(err, "\n") != 1 ||
						!strings.Contains(err, "pollux: "+strings.TrimSpace(name+" "+shown)+": ") ||
						!strings.Contains(err, ": give ") || !strings.Contains(err, "; write "+name) {
						t.Errorf("%q: status %d, want %d and one line with a suggestion\n%s%s", args, status, exitUsage, out, err)
						continue
					}
					checkSuggestion(t, command.Name, f, err)
				}
			}
			if !f.IsBool() {
				status, _, err := pollux(t, "", command.Name, name)
				if status != exitUsage || !strings.HasPrefix(err, "pollux: "+name+": the value is missing: give ") {
					t.Errorf("%s %s: status %d, %s", command.Name, name, status, err)
				}
				checkSuggestion(t, command.Name, f, err)
			}
		}
	}
	if ruled != len(rules) {
		t.Errorf("there are %d rules, but only %d belong to a flag", len(rules), ruled)
	}
}

// checkSuggestion checks that the parser accepts the flag that an error suggests.
func checkSuggestion(t *testing.T, command string, f *kong.Flag, message string) {
	t.Helper()
	_, written, _ := strings.Cut(strings.TrimSpace(message), "; write ")
	written, _, _ = strings.Cut(written, ", or ")
	args := append([]string{command}, strings.Fields(written)...)
	if command == "serve" {
		args = append(args, "echo")
	}
	parser, _ := modelOf(t)
	if _, err := parser.Parse(args); err != nil {
		t.Errorf("%q, suggested by the error of --%s, is refused: %v", args, f.Name, err)
	}
}

func TestFlagErrorTexts(t *testing.T) {
	for args, want := range map[string]string{
		"serve echo --loops -1":               "--loops -1: give a number from 0 to 1024 (0: one for each processor); write --loops 4",
		"serve echo --idle-timeout 5":         "--idle-timeout 5: the unit is missing: give a time of 0s or more (0s: never); write --idle-timeout 5s",
		"serve echo --busy-poll 9":            "--busy-poll 9: give adaptive, off, or a time up to 1s; write --busy-poll 50us",
		"demo -d 90m":                         "--delay 90m: give a time from 0s to 1h; write --delay 1s",
		"demo -d5":                            "--delay 5: the unit is missing: give a time from 0s to 1h; write --delay 5s",
		"demo -n":                             "--requests: the value is missing: give a number from 0 to 1000000 (0: as many as may be open at the same time); write --requests 2000",
		"demo -n --each":                      "--requests: the value is missing: give a number from 0 to 1000000 (0: as many as may be open at the same time); write --requests 2000",
		"serve echo --quiet=perhaps":          "--quiet perhaps: give no value, or true or false; write --quiet, or --quiet=true",
		"serve echo --refuse":                 "--refuse needs --max-conns; write --refuse --max-conns 10000",
		"demo -n \x1b[31m":                    `--requests "\x1b[31m": give a number from 0 to 1000000 (0: as many as may be open at the same time); write --requests 2000`,
		"demo -n " + strings.Repeat("x", 999): "--requests " + strings.Repeat("x", maxValueShown) + "...: give a number",
	} {
		status, _, err := pollux(t, "", strings.Fields(args)...)
		if status != exitUsage || !strings.HasPrefix(err, "pollux: "+want) {
			t.Errorf("%s: status %d, want %d and %q\n%s", args, status, exitUsage, want, err)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"demo", "fetch", "serve", "doctor", "version", "help"}
	for s, want := range map[string]string{
		"demo": "demo", "dmeo": "demo", "d": "", "ser": "serve", "server": "serve", "fetchh": "fetch",
		"vresion": "version", "nonsense": "", "": "", strings.Repeat("d", 1<<20): "",
	} {
		if got := nearest(s, names); got != want {
			t.Errorf("nearest(%.20q) = %q, want %q", s, got, want)
		}
	}
}
