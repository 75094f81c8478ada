package netconn_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
)

func listenPacket(t testing.TB, g *loop.Group) *netconn.PacketConn {
	t.Helper()
	p, err := netconn.ListenPacket(g, "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p.(*netconn.PacketConn)
}

// Datagrams arrive whole, with their sender, empty ones included; what does not fit into the reader's slice is lost.
func TestPackets(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		p, q := listenPacket(t, g), listenPacket(t, g)
		b := make([]byte, 4)
		for _, waits := range []bool{true, false} { // ReadFrom gets a datagram from the loop, or from the queue
			for _, sent := range []string{"", "ping", "castor"} {
				var reading <-chan result
				if waits {
					reading = start(func() (int, error) { n, _, err := q.ReadFrom(b); return n, err })
				}
				if n, err := p.WriteTo([]byte(sent), q.LocalAddr()); n != len(sent) || err != nil {
					t.Errorf("%d, %v", n, err)
				}
				want := sent[:min(len(sent), 4)]
				if waits {
					if r := <-reading; r.err != nil || string(b[:r.n]) != want {
						t.Errorf("%q, %v, want %q", b[:r.n], r.err, want)
					}
					continue
				}
				n, from, err := q.ReadFrom(b)
				if err != nil || string(b[:n]) != want || from.String() != p.LocalAddr().String() {
					t.Errorf("%q from %v, %v, want %q from %v", b[:n], from, err, want, p.LocalAddr())
				}
			}
		}
	})
}

// A PacketConn sends where one of package net does: to this host if there is no IP, and to a broadcast address, for which the kernel
// wants an option.
func TestPacketDestinations(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		p, q := listenPacket(t, g), listenPacket(t, g)
		port := q.LocalAddr().(*net.UDPAddr).Port
		if _, err := p.WriteTo([]byte("broadcast"), &net.UDPAddr{IP: net.IPv4(127, 255, 255, 255), Port: port}); errors.Is(err, syscall.EACCES) { // not each system has that address
			t.Error(err)
		}
		if _, err := p.WriteTo([]byte("here"), &net.UDPAddr{Port: port}); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 10)
		if n, _, err := q.ReadFrom(b); string(b[:n]) != "here" || err != nil {
			t.Errorf("%q, %v, want here", b[:n], err)
		}
	})
}

// Errors and deadlines of a PacketConn are those of package net.
func TestPacketErrors(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		p := listenPacket(t, g)
		reading := start(func() (int, error) { n, _, err := p.ReadFrom(nil); return n, err })
		p.SetReadDeadline(time.Now().Add(time.Millisecond))
		checkOpError(t, (<-reading).err, "read", os.ErrDeadlineExceeded)
		p.SetWriteDeadline(time.Unix(1, 0))
		_, err := p.WriteTo(nil, p.LocalAddr())
		checkOpError(t, err, "write", os.ErrDeadlineExceeded)
		p.SetDeadline(time.Time{})
		_, err = p.WriteTo(make([]byte, 1<<16), p.LocalAddr())
		checkOpError(t, err, "write", syscall.EMSGSIZE)
		at := p.LocalAddr().(*net.UDPAddr)
		for _, a := range []net.Addr{nil, &net.TCPAddr{}, (*net.UDPAddr)(nil), &net.UDPAddr{IP: at.IP, Port: at.Port + 1<<16}, &net.UDPAddr{IP: at.IP, Port: -1}} {
			_, err = p.WriteTo(nil, a)
			checkOpError(t, err, "write", syscall.EINVAL)
		}
		_, err = p.WriteToUDPAddrPort(nil, netip.AddrPort{})
		checkOpError(t, err, "write", loop.ErrBadArgument)
		reading = start(func() (int, error) { n, _, err := p.ReadFrom(nil); return n, err })
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		checkOpError(t, (<-reading).err, "read", net.ErrClosed)
		_, err = p.WriteTo(nil, p.LocalAddr())
		checkOpError(t, err, "write", net.ErrClosed)
		checkOpError(t, p.Close(), "close", net.ErrClosed)
		checkOpError(t, p.SetDeadline(time.Now()), "set", net.ErrClosed)
	})
}

// Datagrams that nobody reads are kept up to a limit, in order, and then dropped and counted.
func TestPacketQueueIsBounded(t *testing.T) {
	const size, kept = 1000, netconn.MaxQueuedBytes / (1000 + netconn.DatagramOverheadBytes)
	onSim(t, func(t *testing.T, g *loop.Group) {
		p, q := listenPacket(t, g), listenPacket(t, g)
		b := make([]byte, size)
		for i := range kept + 20 {
			copy(b, fmt.Sprintf("%04d", i))
			if _, err := p.WriteTo(b, q.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if n := q.Dropped(); n != 20 {
			t.Errorf("%d datagrams were dropped, want 20", n)
		}
		for i := range kept {
			n, _, err := q.ReadFrom(b)
			if err != nil || n != size || string(b[:4]) != fmt.Sprintf("%04d", i) {
				t.Fatalf("datagram %d: %.4q, %d, %v", i, b, n, err)
			}
		}
		q.SetReadDeadline(time.Now().Add(time.Second))
		if n, _, err := q.ReadFrom(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("one more: %d, %v", n, err)
		}
	})
}

// ReadFromUDPAddrPort and WriteToUDPAddrPort allocate nothing.
func TestPacketAllocations(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	onBackends(t, func(t *testing.T, g *loop.Group) {
		p := listenPacket(t, g)
		to := p.LocalAddr().(*net.UDPAddr).AddrPort()
		b := []byte("castor")
		if n := testing.AllocsPerRun(200, func() {
			p.WriteToUDPAddrPort(b, to)
			if n, _, err := p.ReadFromUDPAddrPort(b); n != len(b) || err != nil {
				t.Fatal(n, err)
			}
		}); n >= 1 { // growing the queue, if a datagram comes before its reader
			t.Errorf("%v allocations", n)
		}
	})
}
