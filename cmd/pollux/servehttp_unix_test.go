//go:build unix

package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
)

// startProgram starts a server in a process of its own, and returns the address of its line. The lines of its standard
// error follow.
func startProgram(t *testing.T, c *exec.Cmd) (at string, stderr *bufio.Reader) {
	t.Helper()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	stderr = bufio.NewReader(errs)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		c.Process.Kill()
		rest, _ := io.ReadAll(stderr)
		t.Fatalf("no line on standard output: %v\n%s", err, rest)
	}
	_, at, _ = strings.Cut(addresses.FindString(line), "://")
	return at, stderr
}

// The signal SIGHUP reads the certificate again, also under nohup, which ignores it; SIGTERM ends the server.
func TestServeReloadsOnHangup(t *testing.T) {
	testkit.CheckLeaks(t)
	for _, shell := range []string{`exec "$0" "$@"`, `trap '' HUP; exec "$0" "$@"`} {
		dir := webDir(t, 0)
		cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		writePair(t, cert, key)
		c := program(t)
		c.Path = "/bin/sh"
		c.Args = []string{"sh", "-c", shell, os.Args[0], "serve", "http", dir, "-l", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--every", "0s"}
		at, stderr := startProgram(t, c)
		first := certificateOf(t, at)
		if err := os.Remove(cert); err != nil {
			t.Fatal(err)
		}
		c.Process.Signal(syscall.SIGHUP)
		if line, _ := stderr.ReadString('\n'); !strings.HasPrefix(line, "pollux: reload the certificate: read the certificate: open "+cert+": ") {
			t.Errorf("%q", line)
		}
		writePair(t, cert, key)
		c.Process.Signal(syscall.SIGHUP)
		if line, _ := stderr.ReadString('\n'); !strings.HasPrefix(line, "pollux: the certificate was reloaded: SHA-256 ") {
			t.Errorf("%q", line)
		}
		if bytes.Equal(certificateOf(t, at), first) {
			t.Error("the new certificate is not in use")
		}
		c.Process.Signal(syscall.SIGTERM)
		rest, _ := io.ReadAll(stderr)
		if err := c.Wait(); err != nil || !bytes.Contains(rest, []byte("pollux: served ")) {
			t.Errorf("%v\n%s", err, rest)
		}
	}
}

// A certificate file that blocks its reader does not keep the server from ending.
func TestServeEndsWhileReloadBlocks(t *testing.T) {
	testkit.CheckLeaks(t)
	dir := webDir(t, 0)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, cert, key)
	c := program(t, "serve", "http", dir, "-l", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--every", "0s")
	at, stderr := startProgram(t, c)
	// Nothing writes to the pipe of the key, so its reader blocks in open; the pipe of the certificate shows when that is
	// to come: this end of it opens once the server reads it.
	for _, name := range []string{cert, key} {
		if err := errors.Join(os.Remove(name), syscall.Mkfifo(name, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	c.Process.Signal(syscall.SIGHUP)
	w, err := os.OpenFile(cert, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.WriteString("a certificate")
	w.Close()
	certificateOf(t, at)
	c.Process.Signal(syscall.SIGTERM)
	rest, _ := io.ReadAll(stderr)
	if err := c.Wait(); err != nil || !bytes.Contains(rest, []byte("pollux: served ")) {
		t.Errorf("%v\n%s", err, rest)
	}
}

// Stream sockets that systemd passes are served; a datagram socket is refused.
func TestServeHTTPActivation(t *testing.T) {
	testkit.CheckLeaks(t)
	u := newUnitSockets(t)
	c := activated(t, "a:b", []*os.File{u.tcp, u.unix}, "serve", "http", webDir(t, 0))
	at, stderr := startProgram(t, c)
	if at != u.tcpAt.String() {
		t.Errorf("it serves %s, want %s", at, u.tcpAt)
	}
	for _, a := range []net.Addr{u.tcpAt, u.unixAt} {
		network := a.Network()
		client := webClient(t, network, a.String(), false)
		if r, b := get(t, client, "GET", "http://h/small"); r.StatusCode != 200 || string(b) != "hello" {
			t.Errorf("%s: %d %q", network, r.StatusCode, b)
		}
		client.CloseIdleConnections()
	}
	c.Process.Signal(syscall.SIGTERM)
	rest, _ := io.ReadAll(stderr)
	if err := c.Wait(); err != nil {
		t.Errorf("%v\n%s", err, rest)
	}
	u.checkPath(t)
	out, err := activated(t, "x", []*os.File{u.udp}, "serve", "http", ".").CombinedOutput()
	if want := `the inherited descriptor 3, "x": a datagram socket; http and TLS need ListenStream=`; err == nil || !strings.Contains(string(out), want) || strings.Count(string(out), "\n") != 1 {
		t.Errorf("%v, want %q\n%s", err, want, out)
	}
}
