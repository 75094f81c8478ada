//go:build unix

package main

import (
	"bytes"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// A signal ends a run: incomplete files are removed, and the exit status has the signal.
func TestSignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if signal.Ignored(sig) {
			continue // the program that this test starts ignores it, too
		}
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

// Under nohup, the program ignores SIGHUP.
func TestNohup(t *testing.T) {
	url, begun := endless(t)
	c := program(t)
	c.Path = "/bin/sh"
	c.Args = []string{"sh", "-c", `trap '' HUP; exec "$0" "$@"`, os.Args[0], "fetch", "-q", url}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	<-begun
	c.Process.Signal(syscall.SIGHUP)
	c.Process.Signal(syscall.SIGTERM)
	c.Wait()
	if c.ProcessState.ExitCode() != exitSignal+int(syscall.SIGTERM) {
		t.Errorf("status %v", c.ProcessState)
	}
}

// With a low limit on descriptors, fewer URLs are fetched at the same time, and all succeed.
func TestFewDescriptors(t *testing.T) {
	url := files(t)
	args := []string{"-c", `ulimit -n 90 && exec "$0" "$@"`, os.Args[0], "fetch", "-q", "-o", t.TempDir()}
	for range 100 {
		args = append(args, url+"/1")
	}
	c := program(t)
	c.Path, c.Args = "/bin/sh", append([]string{"sh"}, args...)
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "the limit on file descriptors allows 13 URLs") {
		t.Errorf("%v\n%s", err, out)
	}
}
