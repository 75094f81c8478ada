package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/cmd/pollux/internal/demo"
	"github.com/pollux-io/pollux/internal/testkit"
)

// mainEnv makes the test binary run main, for tests that need a process.
const mainEnv = "POLLUX_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainEnv) != "" || len(os.Args) > 1 && os.Args[1] == demo.Part {
		main()
	}
	os.Exit(m.Run())
}

// pollux runs the program in this process.
func pollux(t *testing.T, in string, args ...string) (status int, out, err string) {
	t.Helper()
	var o, e bytes.Buffer
	status = run(context.WithoutCancel(t.Context()), args, streams{strings.NewReader(in), &o, &e})
	return status, o.String(), e.String()
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args   string
		status int
		want   string // in either output
	}{
		{"", exitOK, "Examples:"},
		{"--help", exitOK, "pollux fetch -o out"},
		{"--help", exitOK, "Exit status: 0"},
		{"demo --help", exitOK, "pollux demo --requests 2000"},
		{"fetch --help", exitOK, "--max-redirects"},
		{"resolve --help", exitOK, "pollux resolve --type MX,TXT example.org"},
		{"resolve --typ MX x", exitUsage, "did you mean --type?"},
		{"resovle x", exitUsage, "unknown command resovle: did you mean resolve?"},
		{"doctor --help", exitOK, "pollux doctor --json"},
		{"version", exitOK, "pollux "},
		{"-h", exitOK, "Examples:"},
		{"help", exitOK, "Examples:"},
		{"help demo", exitOK, "pollux demo --requests 2000"},
		{"help help", exitOK, "pollux help"},
		{"demo -h", exitOK, "pollux demo --requests 2000"},
		{"--version", exitOK, "pollux "},
		{"-V", exitOK, "pollux "},
		{"serve --version", exitOK, "pollux "},
		{"nonsense", exitUsage, "unknown command nonsense: give demo, fetch, resolve, serve, doctor, version or help"},
		{"fecth http://127.0.0.1/", exitUsage, "unknown command fecth: did you mean fetch?"},
		{"help docter", exitUsage, "unknown command docter: did you mean doctor?"},
		{"help serve echo", exitUsage, "write pollux help serve"},
		{"demo --nonsense", exitUsage, "unknown flag --nonsense; pollux demo --help"},
		{"demo --n 5", exitUsage, "did you mean -n, which is --requests?"},
		{"demo -delay 5s", exitUsage, "-delay: a long flag has two hyphens: "},
		{"demo --request 5", exitUsage, "did you mean --requests?"},
		{"fetch --max-redirect 5", exitUsage, "did you mean --max-redirects?"},
		{"demo --requests=-7", exitUsage, "--requests -7"},
		{"demo --requests many", exitUsage, "many"},
		{"demo --delay -1s", exitUsage, "-1s"},
		{"fetch", exitUsage, "no URL"},
		{"fetch --parallel 0 http://127.0.0.1/", exitUsage, "--parallel 0"},
		{"fetch --timeout nonsense http://127.0.0.1/", exitUsage, "nonsense"},
		{"fetch --input /no/such/file", exitUsage, "/no/such/file"},
		{"fetch --input -", exitUsage, "the list - has no URL"},
		{"doctor --connections 0", exitUsage, "--connections 0"},
		{"fetch ftp://127.0.0.1/", exitUsage, "neither http nor https"},
		{"fetch --cacert /no/such/file https://127.0.0.1/", exitUsage, "--cacert: read the CA certificates: open /no/such/file"},
		{"fetch --cacert x.pem --insecure https://127.0.0.1/", exitUsage, "give one of them"},
		{"fetch nonsense", exitUsage, "write it like http://"},
		{"fetch -o http://h/ http://127.0.0.1/", exitUsage, "give a directory, not a URL"},
	} {
		t.Run(c.args, func(t *testing.T) {
			testkit.CheckLeaks(t)
			status, out, err := pollux(t, "", strings.Fields(c.args)...)
			if status != c.status || !strings.Contains(out+err, c.want) {
				t.Errorf("status %d, want %d and %q\n%s%s", status, c.status, c.want, out, err)
			}
			if status == exitUsage && (strings.Count(err, "\n") != 1 || out != "") {
				t.Errorf("want one line on standard error and nothing on standard output:\n%s%s", out, err)
			}
		})
	}
}

func TestDemo(t *testing.T) {
	testkit.CheckLeaks(t)
	status, out, err := pollux(t, "", "demo", "--requests", "30", "--delay", "1s")
	if status != exitOK || err != "" || !strings.Contains(out, "times as long") || strings.Count(out, "\n") > 10 {
		t.Errorf("status %d\n%s%s", status, out, err)
	}
}

func TestDoctor(t *testing.T) {
	testkit.CheckLeaks(t)
	status, out, err := pollux(t, "", "doctor", "--json", "--connections", "123")
	var r struct{ Connections int }
	if json.Unmarshal([]byte(out), &r) != nil || status != exitOK || r.Connections != 123 {
		t.Errorf("status %d\n%s%s", status, out, err)
	}
	if status, out, err = pollux(t, "", "doctor"); status != exitOK || !strings.Contains(out, "For 10000 connections") {
		t.Errorf("status %d\n%s%s", status, out, err)
	}
	t.Setenv("POLLUX_BACKEND", "nonsense")
	if status, _, err = pollux(t, "", "doctor"); status != exitFailed || !strings.Contains(err, "nonsense") {
		t.Errorf("a bad backend: status %d\n%s", status, err)
	}
	if status, _, err = pollux(t, "", "demo"); status != exitFailed || !strings.Contains(err, "nonsense") {
		t.Errorf("demo with a bad backend: status %d\n%s", status, err)
	}
}
