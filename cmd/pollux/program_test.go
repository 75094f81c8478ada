package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/cmd/pollux/internal/faultserver"
	"github.com/pollux-io/pollux/cmd/pollux/internal/nameserver"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
)

// Flags of this test. They allow to test the program of another system, run by an
// emulator; the other end of its connections is in this process.
var (
	programFlag = flag.String("program", "", "the `command` that the TestProgram tests run, its words separated by blanks; by default the test itself")
	systemFlag  = flag.String("system", runtime.GOOS, "the `GOOS` that -program is for")
)

// temporaryEnv is the environment variable with the directory of temporary files.
var temporaryEnv = map[bool]string{false: "TMPDIR", true: "TMP"}[runtime.GOOS == "windows"]

// exitPatience is how long the output of a program may stay open after it has ended.
const exitPatience = testkit.Watchdog

// program returns a command that runs the program in a process of its own.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	command, env := []string{os.Args[0]}, []string{mainEnv + "=1", temporaryEnv + "=" + testkit.TempDir(t)}
	if *programFlag != "" {
		command, env = strings.Fields(*programFlag), nil // Wine finds its server by TMPDIR
	}
	c := exec.CommandContext(t.Context(), command[0], append(command[1:], args...)...)
	c.Env = append(os.Environ(), env...)
	c.WaitDelay = exitPatience
	return c
}

// runProgram runs the program until it exits.
func runProgram(t *testing.T, dir, in string, args ...string) (status int, out, err string) {
	t.Helper()
	c := program(t, args...)
	var o, e bytes.Buffer
	c.Dir, c.Stdin, c.Stdout, c.Stderr = dir, strings.NewReader(in), &o, &e
	var exit *exec.ExitError
	if err := c.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v\n%s", args, err, &e)
	}
	return c.ProcessState.ExitCode(), o.String(), e.String()
}

func TestProgramDemo(t *testing.T) {
	status, out, err := runProgram(t, "", "", "demo", "-n", "2000") // the race detector is limited to 8128 goroutines, and net/http needs three for each
	if status != exitOK || err != "" || !strings.Contains(out, " simultaneous connections") || strings.Contains(out, "failed") ||
		!regexp.MustCompile(`(?m)^goroutines +1 +\d`).MatchString(out) || strings.Count(out, "\n") > 12 {
		t.Errorf("status %d\n%s%s", status, out, err)
	}
	t.Log("\n" + out)
}

// Files are complete; a refused connection and an unknown name are reported by one line
// each.
func TestProgramFetch(t *testing.T) {
	url, dir := files(t), testkit.TempDir(t)
	ln, e := net.Listen("tcp", "127.0.0.1:0")
	if e != nil {
		t.Fatal(e)
	}
	refusing := "http://" + ln.Addr().String() + "/refused"
	ln.Close()
	var list strings.Builder
	for i := range 50 {
		list.WriteString(url + "/" + strconv.Itoa(i) + "\n")
	}
	status, out, err := runProgram(t, dir, list.String(), "fetch", "-o", "out", "--retries", "0", "--input", "-",
		refusing, "http://nobody.invalid/unknown", url+"/"+strconv.Itoa(largeBody))
	if status != exitFailed || strings.Count(out, "\n") != 51 {
		t.Errorf("status %d\n%s%s", status, out, err)
	}
	lines := strings.Split(strings.TrimSpace(err), "\n")
	for _, want := range []string{
		"pollux: " + refusing + ": connect to " + ln.Addr().String() + ": connection refused",
		"pollux: http://nobody.invalid/unknown: look up nobody.invalid: ",
		"pollux: 51 of 53 fetched",
	} {
		if len(lines) != 3 || strings.Count("\n"+err, "\n"+want) != 1 {
			t.Errorf("want three lines, one of them %q…:\n%s", want, err)
		}
	}
	left, _ := os.ReadDir(filepath.Join(dir, "out"))
	if len(left) != 51 {
		t.Errorf("%d files, want 51: %v", len(left), left)
	}
	for _, f := range left {
		n, e := strconv.Atoi(f.Name())
		got, _ := os.ReadFile(filepath.Join(dir, "out", f.Name()))
		if e != nil || !bytes.Equal(got, body(n)) {
			t.Errorf("file %s: %v, or its bytes differ", f.Name(), e)
		}
	}
}

func TestProgramFetchToStandardOutput(t *testing.T) {
	url := files(t)
	status, out, err := runProgram(t, "", "", "fetch", "-q", url+"/1", url+"/2", url+"/"+strconv.Itoa(largeBody))
	if want := bytes.Join([][]byte{body(1), body(2), body(largeBody)}, nil); status != exitOK || out != string(want) || err != "" {
		t.Errorf("status %d, %d bytes, want %d\n%s", status, len(out), len(want), err)
	}
}

// The program of any system looks up names over UDP and TCP.
func TestProgramResolve(t *testing.T) {
	server := nameserver.Start(t, testZone).String()
	status, out, err := runProgram(t, "", "cut.test.\nnobody.test.\n", "resolve", "--server", server, "--type", "A", "--input", "-", "both.test.")
	for _, want := range []string{"192.0.2.7  (evented " + server + " udp)\n", "192.0.2.8  (evented " + server + " tcp)\n"} {
		if status != exitFailed || !strings.Contains(out, want) || strings.Count(out, "\n") != 2 {
			t.Errorf("status %d, want %q\n%s%s", status, want, out, err)
		}
	}
	if !strings.HasPrefix(err, "pollux: nobody.test. A: no such name") || strings.Count(err, "\n") != 2 || !strings.Contains(err, "\npollux: 2 of 3 resolved in ") {
		t.Errorf("%s", err)
	}
}

// endless starts a server that sends the beginning of a body, then a value on begun, and
// never ends the body.
func endless(t *testing.T) (url string, begun chan struct{}) {
	begun = make(chan struct{}, 10)
	s := faultserver.Answer(t, func(c *net.TCPConn, _ *http.Request) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
		begun <- struct{}{}
		faultserver.Wait(c)
	})
	return s.URL("/"), begun
}

// When the reader of standard output has closed the pipe, the program ends without a message
// and leaves no files behind.
func TestProgramClosedPipe(t *testing.T) {
	url := files(t)
	slow, _ := endless(t)
	for _, args := range [][]string{
		{"fetch", "-q", url + "/1", url + "/2", slow},
		{"fetch", url + "/1"},
		{"fetch", "-o", "files", "--no-progress", url + "/1", slow},
		{"demo", "--delay", "1h"},
		{"resolve", "localhost"},
		{"resolve", "--json", "localhost", "localhost.", "127.0.0.1"},
		{"doctor"},
		{"version"},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		c := program(t, args...)
		c.Dir = testkit.TempDir(t)
		var stderr bytes.Buffer
		c.Stdout, c.Stderr = w, &stderr
		c.Run()
		w.Close()
		if c.ProcessState.ExitCode() != exitPipe || stderr.Len() != 0 {
			t.Errorf("%v: status %v\n%s", args, c.ProcessState, &stderr)
		}
		parts, _ := filepath.Glob(filepath.Join(c.Dir, "files", ".*"))
		if len(parts) != 0 {
			t.Errorf("%v: left %q", args, parts)
		}
	}
}

// The doctor reports about the system that the program was built for.
func TestProgramDoctor(t *testing.T) {
	status, out, err := runProgram(t, "", "", "doctor", "--json")
	var r struct {
		Backends []struct {
			Name            string
			Usable, Default bool
		}
		System struct{ OS, Kernel string }
	}
	if e := json.Unmarshal([]byte(out), &r); e != nil || status != exitOK || err != "" {
		t.Fatalf("status %d, %v\n%s%s", status, e, out, err)
	}
	if r.System.OS != *systemFlag {
		t.Errorf("system %+v", r.System)
	}
	foreign := *systemFlag == "windows" && runtime.GOOS != "windows"
	if onWine := foreign || sys.OnWine(); onWine != strings.Contains(r.System.Kernel, "Wine") {
		t.Errorf("system %+v", r.System)
	}
	chosen := ""
	for _, b := range r.Backends {
		if b.Usable && b.Default {
			chosen += b.Name
		}
	}
	if want := map[string]string{"linux": "epoll", "windows": "iocp"}[*systemFlag]; want != "" && chosen != want {
		t.Errorf("backends %+v", r.Backends)
	}

	status, out, err = runProgram(t, "", "", "doctor")
	if status != exitOK || err != "" || !regexp.MustCompile(`\b`+chosen+` +usable, default`).MatchString(out) {
		t.Errorf("status %d\n%s%s", status, out, err)
	}
	if *systemFlag != "linux" && strings.Contains(out, "net.core.") {
		t.Errorf("limits of another system:\n%s", out)
	}
	t.Log("\n" + out)
}
