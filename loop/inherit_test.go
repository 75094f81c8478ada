package loop_test

import (
	"io"
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

type echoPackets struct{}

func (echoPackets) Packets(p *loop.PacketConn, ms []sock.Message) {
	for i := range ms {
		p.WriteTo(ms[i].Data[:ms[i].N], ms[i].Addr)
	}
}

// checkEchoAndClose checks that what c sends comes back.
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
		t.Errorf("%q came back: %v", got, err)
	}
}

// A listening Unix socket that was made elsewhere.
func TestServeUnix(t *testing.T) {
	skipOnWine(t, "it has no Unix sockets")
	l, err := sock.ListenUnix(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Skip(err)
	}
	ln, err := group(t, loop.Config{}).ServeUnix(l, func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", ln.Addr().String())
	checkEchoAndClose(t, c, err)
}

// A UDP socket that was made elsewhere.
func TestServePacket(t *testing.T) {
	skipOnWine(t, "package net's UDP does not work there")
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

// A second server does not share a UDP port unnoticed, though the sockets of one
// group do.
func TestPacketPortTaken(t *testing.T) {
	listen := func(address string) (*loop.PacketListener, error) {
		return group(t, loop.Config{Loops: 2}).ListenPacket("udp", address, func(*loop.PacketConn) loop.PacketHandler { return echoPackets{} })
	}
	first, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if second, err := listen(first.Addr().String()); err == nil {
		t.Errorf("%v is bound twice, on %s", second.Addr(), runtime.GOOS)
	}
}
