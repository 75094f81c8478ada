//go:build unix

package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
)

// activated returns the program as systemd would start it: with sockets from descriptor 3
// on, and its own process ID in LISTEN_PID.
func activated(t *testing.T, names string, files []*os.File, args ...string) *exec.Cmd {
	t.Helper()
	c := program(t)
	c.Path = "/bin/sh"
	c.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, os.Args[0]}, args...)
	c.Env = append(c.Env, "LISTEN_FDS="+string(rune('0'+len(files))), "LISTEN_FDNAMES="+names)
	c.ExtraFiles = files
	return c
}

// file returns a duplicate of the descriptor of s, and closes s.
func file(t *testing.T, s interface {
	File() (*os.File, error)
	Close() error
}, err error,
) *os.File {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	if u, ok := s.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	s.Close()
	t.Cleanup(func() { f.Close() })
	return f
}

// unitSockets are the sockets that systemd makes for a unit, with the address of each.
type unitSockets struct {
	tcp, unix, udp       *os.File
	tcpAt, unixAt, udpAt net.Addr
}

func newUnitSockets(t *testing.T) (u unitSockets) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	u.tcp, u.tcpAt = file(t, tcp.(*net.TCPListener), err), tcp.Addr()
	unix, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	u.unix, u.unixAt = file(t, unix.(*net.UnixListener), err), unix.Addr()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	u.udp, u.udpAt = file(t, udp.(*net.UDPConn), err), udp.LocalAddr()
	return u
}

// checkPath fails the test if the server has removed the path of the Unix socket, which belongs to systemd.
func (u *unitSockets) checkPath(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(u.unixAt.String()); err != nil {
		t.Error("the server removed a path that belongs to systemd:", err)
	}
}

func TestServeActivation(t *testing.T) {
	testkit.CheckLeaks(t)
	u := newUnitSockets(t)
	c := activated(t, "a:b:c", []*os.File{u.tcp, u.unix, u.udp}, "serve", "echo", "--drain", "5s")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	want := "echo on tcp://" + u.tcpAt.String() + " (a), unix://" + u.unixAt.String() + " (b), udp://" + u.udpAt.String() + " (c) by "
	if !strings.HasPrefix(line, want) {
		t.Errorf("line %q, want %q…", line, want)
	}
	for _, a := range []net.Addr{u.tcpAt, u.unixAt, u.udpAt} {
		conn := connect(t, a.Network(), a.String())
		conn.Write([]byte("hello"))
		got := make([]byte, 5)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
			t.Errorf("%v: received %q, %v, want hello", a, got, err)
		}
		conn.Close()
	}
	c.Process.Signal(syscall.SIGTERM)
	if err := c.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &stderr)
	}
	u.checkPath(t)
}

// Inherited descriptors that cannot be served are refused with one line.
func TestServeActivationRefuses(t *testing.T) {
	testkit.CheckLeaks(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	connected := file(t, conn.(*net.TCPConn), err)
	datagram, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "d"), Net: "unixgram"})
	unixgram := file(t, datagram, err)
	plain, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	const notListening = `the inherited descriptor 3, "x": it does not listen`
	for f, want := range map[*os.File]string{
		connected: notListening, unixgram: notListening, plain: "descriptor 3 is not a socket",
	} {
		out, err := activated(t, "x", []*os.File{f}, "serve", "echo").CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%v, want %q\n%s", err, want, out)
		}
	}
	c := activated(t, "", nil, "serve", "echo")
	c.Env = append(c.Env, "LISTEN_FDS=2")
	if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "descriptor 3 is not a socket") {
		t.Errorf("%v\n%s", err, out)
	}
}

// The error of a taken path advises to remove it only if it is a socket.
func TestServePathTaken(t *testing.T) {
	testkit.CheckLeaks(t)
	dir := t.TempDir()
	file, link := filepath.Join(dir, "f"), filepath.Join(dir, "l")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "s"), link); err != nil {
		t.Fatal(err)
	}
	s := startServe(t, "echo", "-q", "-l", "unix://"+filepath.Join(dir, "s"))
	for path, want := range map[string]string{
		file: "; it exists and is not a socket", link: "; it exists and is not a socket", s.where[0]: "remove it\n",
	} {
		status, _, err := pollux(t, "", "serve", "echo", "-l", "unix://"+path)
		if status != exitFailed || !strings.Contains(err, want) || strings.Count(err, "\n") != 1 {
			t.Errorf("%s: status %d, %s", path, status, err)
		}
	}
}

// SIGHUP ends the server like SIGTERM, which also removes its path.
func TestServeHangup(t *testing.T) {
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("skipped: this test runs under nohup, so the server would ignore SIGHUP")
	}
	path := filepath.Join(t.TempDir(), "s")
	c := program(t, "serve", "echo", "-q", "-l", "unix://"+path)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	bufio.NewReader(out).ReadString('\n')
	c.Process.Signal(syscall.SIGHUP)
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the path of the socket was not removed")
	}
}

// With fewer descriptors than clients, the others wait in the backlog, and all are
// served eventually.
func TestServeFewDescriptors(t *testing.T) {
	testkit.CheckLeaks(t)
	const clients = 150
	c := program(t)
	c.Path = "/bin/sh"
	c.Args = []string{"sh", "-c", `ulimit -n 60 && exec "$0" "$@"`, os.Args[0], "serve", "echo", "-q", "-l", "127.0.0.1:0"}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, at, _ := strings.Cut(addresses.FindString(line), "://")
	var conns []net.Conn
	for range clients {
		conns = append(conns, connect(t, "tcp", at))
	}
	var wg sync.WaitGroup
	for _, conn := range conns {
		wg.Go(func() {
			conn.Write([]byte("hi"))
			if _, err := io.ReadFull(conn, make([]byte, 2)); err != nil {
				t.Error(err)
			}
			conn.Close()
		})
	}
	wg.Wait()
	c.Process.Signal(syscall.SIGTERM)
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}
