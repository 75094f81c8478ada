//go:build unix

package loop_test

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// A descriptor passed to a child becomes blocking for every holder of the open file description
// (os/exec calls Fd): graceful restarts do that with the listener. The loops must go on serving,
// and garbage collections must still finish.
func TestLoopServesWhatAChildInherits(t *testing.T) {
	skipOnSimulation(t, "a child inherits descriptors")
	if !testkit.InChild(t) {
		return
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	l, err := sock.FromTCPListener(tcp.(*net.TCPListener))
	if err != nil {
		t.Fatal(err)
	}
	u, err := sock.FromUDPConn(udp.(*net.UDPConn))
	if err != nil {
		t.Fatal(err)
	}
	g := group(t, loop.Config{Loops: 2})
	if _, err := g.Serve(l, func(*loop.Conn) loop.Handler { return echo{} }); err != nil {
		t.Fatal(err)
	}
	if _, err := g.ServePacket(u, func(*loop.PacketConn) loop.PacketHandler { return echoPackets{} }); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		runChildWith(t, tcp.(*net.TCPListener), udp.(*net.UDPConn))
		for _, a := range []net.Addr{tcp.Addr(), udp.LocalAddr()} {
			c, err := net.Dial(a.Network(), a.String())
			checkEchoAndClose(t, c, err) // closes it
		}
		runtime.GC()
	}
}

// runChildWith runs a child process that inherits the files.
func runChildWith(t *testing.T, from ...interface{ File() (*os.File, error) }) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^$")
	for _, s := range from {
		f, err := s.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		child.ExtraFiles = append(child.ExtraFiles, f)
	}
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
}
