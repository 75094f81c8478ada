package loop_test

import (
	"io"
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

type echoPackets struct{}

func (echoPackets) Packets(p *loop.PacketConn, ms []sock.Message) {
	for i := range ms {
		p.WriteTo(ms[i].Data[:ms[i].N], ms[i].Addr)
	}
}

// checkEchoAndClose checks that c's bytes are echoed, and closes it. It fails the test if err
// is not nil.
func checkEchoAndClose(t *testing.T, c net.Conn, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(testTimeout))
	c.Write([]byte("hello"))
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		t.Errorf("echo = %q, %v, want hello", got, err)
	}
}

// ServeUnix serves a listening socket that the caller has created.
func TestServeUnix(t *testing.T) {
	testkit.SkipOnWine(t, "it has no Unix sockets")
	l, err := sock.ListenUnix(filepath.Join(t.TempDir(), "s"), onNet(t)...)
	if err != nil {
		t.Skip(err)
	}
	ln, err := group(t, loop.Config{}).ServeUnix(l, func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	c, err := dialNet(t, "unix", ln.Addr().String())
	checkEchoAndClose(t, c, err)
}

// ServePacket serves a UDP socket that the caller has created.
func TestServePacket(t *testing.T) {
	skipOnSimulation(t, "it serves a socket of package net")
	testkit.SkipOnWine(t, "package net's UDP does not work there")
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := sock.FromUDPConn(p.(*net.UDPConn))
	p.Close()
	if err != nil {
		t.Skip(err)
	}
	pl, err := group(t, loop.Config{}).ServePacket(u, func(*loop.PacketConn) loop.PacketHandler { return echoPackets{} })
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("udp", pl.Addr().String())
	checkEchoAndClose(t, c, err)
}

// A second group cannot bind a UDP port in use, though the sockets of one group share it.
func TestPacketPortTaken(t *testing.T) {
	listen := func(address string) (*loop.PacketListener, error) {
		return group(t, loop.Config{Loops: 2}).ListenPacket("udp", address, func(*loop.PacketConn) loop.PacketHandler { return echoPackets{} })
	}
	first, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if second, err := listen(first.Addr().String()); err == nil {
		t.Errorf("%v is bound twice on %s, want EADDRINUSE", second.Addr(), runtime.GOOS)
	}
}
