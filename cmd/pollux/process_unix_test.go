//go:build unix

package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/cmd/pollux/internal/faultserver"
)

// program is the program as a process of its own.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Env = append(os.Environ(), mainEnv+"=1", "TMPDIR="+t.TempDir())
	return c
}

// endless begins a body, says so, and never ends it.
func endless(t *testing.T) (url string, begun chan struct{}) {
	begun = make(chan struct{}, 10)
	s := faultserver.Answer(t, func(c *net.TCPConn, _ *http.Request) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
		begun <- struct{}{}
		faultserver.Wait(c)
	})
	return s.URL("/"), begun
}

// SIGINT ends a run: what is not whole is removed, and the status tells.
func TestSignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		url, begun := endless(t)
		dir := t.TempDir()
		c := program(t, "fetch", "-o", dir, url+"1", url+"2")
		var stderr bytes.Buffer
		c.Stderr = &stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		<-begun
		<-begun
		c.Process.Signal(sig)
		c.Wait()
		left, _ := os.ReadDir(dir)
		if c.ProcessState.ExitCode() != exitSignal+int(sig) || len(left) != 0 || stderr.String() == "" ||
			!strings.HasPrefix(stderr.String(), "pollux: interrupted: 0 of 2 fetched") {
			t.Errorf("%v: status %v, left %v\n%s", sig, c.ProcessState, left, &stderr)
		}
	}
}

// When nobody reads standard output any more, the program ends quietly and leaves
// nothing behind.
func TestClosedPipe(t *testing.T) {
	url := files(t)
	slow, _ := endless(t)
	for _, args := range [][]string{
		{"fetch", "-q", url + "/1", url + "/2", slow},
		{"fetch", url + "/1"},
		{"fetch", "-o", "files", "--no-progress", url + "/1", slow},
		{"demo", "--delay", "1h"},
		{"doctor"},
		{"version"},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		c := program(t, args...)
		c.Dir = t.TempDir()
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

// With few descriptors allowed, fewer are fetched at once, and all succeed.
func TestFewDescriptors(t *testing.T) {
	url := files(t)
	args := []string{"-c", `ulimit -n 90 && exec "$0" "$@"`, os.Args[0], "fetch", "-q", "-o", t.TempDir()}
	for range 100 {
		args = append(args, url+"/1")
	}
	c := program(t)
	c.Path, c.Args = "/bin/sh", append([]string{"sh"}, args...)
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "the limit on descriptors allows 13 at once") {
		t.Errorf("%v\n%s", err, out)
	}
}
