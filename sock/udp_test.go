package sock_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

func udp(t testing.TB, at netip.AddrPort, options ...sock.Option) *sock.UDPSocket {
	t.Helper()
	u, err := sock.ListenUDP(at, options...)
	must(t, err)
	t.Cleanup(func() { u.Close() })
	return u
}

func TestUDPUnconnected(t *testing.T) {
	a, b := udp(t, loopback4), udp(t, loopback4)
	buf := make([]byte, 8)
	if _, _, err := a.ReadFrom(buf); err != sock.ErrWouldBlock {
		t.Errorf("ReadFrom of nothing: %v", err)
	}
	for _, text := range []string{"hello", "", "12345678", "123456789"} {
		if n, err := b.WriteTo([]byte(text), a.LocalAddr()); n != len(text) || err != nil {
			t.Fatalf("WriteTo = %d, %v", n, err)
		}
		var n int
		var from netip.AddrPort
		err := until(t, a, pollux.Readable, func() (err error) { n, from, err = a.ReadFrom(buf); return err })
		if len(text) > len(buf) {
			if err != sock.ErrTruncated || n != len(buf) {
				t.Errorf("a datagram too long: %d, %v, want ErrTruncated", n, err)
			}
		} else if err != nil || string(buf[:n]) != text {
			t.Errorf("ReadFrom = %q, %v, want %q", buf[:n], err, text)
		}
		if from != b.LocalAddr() {
			t.Errorf("from %v, want %v", from, b.LocalAddr())
		}
	}
	if _, err := b.WriteTo(nil, netip.AddrPort{}); err == nil {
		t.Error("sending to the zero address succeeded")
	}
	if _, err := b.WriteTo(nil, loopback6); err == nil {
		t.Error("an IPv4 socket sent to an IPv6 address")
	}
}

func TestUDPConnectedAndReconnected(t *testing.T) {
	a, b, c := udp(t, loopback4), udp(t, loopback4), udp(t, loopback4)
	u, err := sock.ConnectUDP(a.LocalAddr())
	must(t, err)
	defer u.Close()
	buf := make([]byte, 16)
	for _, peer := range []*sock.UDPSocket{a, b} {
		must(t, u.Connect(peer.LocalAddr()))
		if u.RemoteAddr() != peer.LocalAddr() {
			t.Errorf("RemoteAddr = %v, want %v", u.RemoteAddr(), peer.LocalAddr())
		}
		if _, err := c.WriteTo([]byte("stranger"), u.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		var from netip.AddrPort
		must(t, until(t, peer, pollux.Readable, func() (err error) { _, from, err = peer.ReadFrom(buf); return err }))
		if _, err := peer.WriteTo([]byte("pong"), from); err != nil {
			t.Fatal(err)
		}
		var n int
		must(t, until(t, u, pollux.Readable, func() (err error) { n, err = u.Read(buf); return err }))
		if string(buf[:n]) != "pong" {
			t.Errorf("Read = %q: a connected socket must receive from its peer only", buf[:n])
		}
	}
	must(t, u.Disconnect())
	if u.RemoteAddr().IsValid() {
		t.Errorf("RemoteAddr = %v after Disconnect", u.RemoteAddr())
	}
}

func TestUDPRefusal(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows returns refusals to the next call on the socket, so they are disabled (SIO_UDP_CONNRESET)")
	}
	gone := udp(t, loopback4)
	u, err := sock.ConnectUDP(gone.LocalAddr())
	must(t, err)
	defer u.Close()
	must(t, gone.Close())
	_, err = u.Write([]byte("anybody?"))
	must(t, err)
	err = until(t, u, pollux.Readable, func() error { _, err := u.Read(make([]byte, 1)); return err })
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Read: %v, want ECONNREFUSED", err)
	}
	if _, err := u.Read(make([]byte, 1)); err != sock.ErrWouldBlock {
		t.Errorf("Read after the refusal: %v, want ErrWouldBlock: the socket remains usable", err)
	}
}

func TestUDPBatches(t *testing.T) {
	a, b := udp(t, loopback4, sock.ReadBuffer(1<<20)), udp(t, loopback4)
	const n = 150 // more than two system calls can transfer
	out := make([]sock.Message, n)
	for i := range out {
		out[i] = sock.Message{Data: fmt.Appendf(nil, "message %d", i), Addr: a.LocalAddr()}
	}
	sent := 0
	must(t, until(t, b, pollux.Writable, func() error {
		k, err := b.WriteBatch(out[sent:])
		sent += k
		return err
	}))
	if sent != n {
		t.Fatalf("%d sent, want %d", sent, n)
	}
	in := make([]sock.Message, n+10)
	for i := range in {
		in[i].Data = make([]byte, 10+i%2*10) // every second one too short for "message 10"
	}
	got := 0
	for got < n {
		must(t, until(t, a, pollux.Readable, func() error {
			k, err := a.ReadBatch(in[got:])
			got += k
			return err
		}))
	}
	for i, m := range in[:n] {
		want := fmt.Sprintf("message %d", i)
		if len(want) > len(m.Data) {
			if !m.Truncated || string(m.Data[:m.N]) != want[:len(m.Data)] {
				t.Errorf("message %d: %q, truncated %v", i, m.Data[:m.N], m.Truncated)
			}
		} else if m.Truncated || string(m.Data[:m.N]) != want || m.Addr != b.LocalAddr() {
			t.Errorf("message %d: %q from %v, truncated %v", i, m.Data[:m.N], m.Addr, m.Truncated)
		}
	}
	if _, err := a.ReadBatch(in); err != sock.ErrWouldBlock {
		t.Errorf("ReadBatch of nothing: %v", err)
	}
	if k, err := b.WriteBatch([]sock.Message{out[0], {Data: []byte("x"), Addr: loopback6}, out[1]}); k != 1 || err == nil {
		t.Errorf("WriteBatch with a bad address in the middle = %d, %v, want 1 and an error", k, err)
	}
	if k, err := a.ReadBatch(nil); k != 0 || err != nil {
		t.Errorf("ReadBatch(nil) = %d, %v", k, err)
	}
}

func TestUDPBatchAllocatesNothing(t *testing.T) {
	a, b := udp(t, loopback4), udp(t, loopback4)
	out := []sock.Message{{Data: []byte("one"), Addr: a.LocalAddr()}, {Data: []byte("two"), Addr: a.LocalAddr()}}
	in := []sock.Message{{Data: make([]byte, 8)}, {Data: make([]byte, 8)}}
	buf := make([]byte, 8)
	if n := testing.AllocsPerRun(200, func() {
		b.WriteBatch(out)
		a.ReadBatch(in)
		b.WriteTo(buf, out[0].Addr)
		a.ReadFrom(buf)
	}); n != 0 && !testkit.Race {
		t.Errorf("%v allocations", n)
	}
}

// The error of a send with a destination names the destination, not the socket's peer.
func TestErrorsNameTheDestination(t *testing.T) {
	u, to, peer := udp(t, loopback4), udp(t, loopback4).LocalAddr(), udp(t, loopback4).LocalAddr()
	if runtime.GOOS == "linux" { // other systems refuse a destination if the socket has a peer
		must(t, u.Connect(peer))
	}
	tooLong := make([]byte, 70_000)
	check := func(what string, err error, to fmt.Stringer) {
		t.Helper()
		var op *net.OpError
		if !errors.As(err, &op) || op.Addr == nil || op.Addr.String() != to.String() {
			t.Errorf("%s: %v does not name %v", what, err, to)
		}
	}
	_, err := u.WriteTo(tooLong, to)
	check("WriteTo", err, to)
	ms := []sock.Message{{Data: []byte("x"), Addr: to}, {Data: tooLong, Addr: to}}
	n, err := u.WriteBatch(ms)
	if n != 1 {
		t.Errorf("WriteBatch = %d, want 1", n)
	}
	check("WriteBatch", err, to)
	check("Connect", u.Connect(loopback6), loopback6)
	must(t, u.Close())
	check("Connect of a closed socket", u.Connect(to), to)
	_, err = u.WriteTo(nil, to)
	check("WriteTo of a closed socket", err, to)
}

func TestMulticast(t *testing.T) {
	group := netip.MustParseAddr("239.255.77.7")
	a := udp(t, netip.MustParseAddrPort("0.0.0.0:0"), sock.ReuseAddr(true))
	lo := loopbackIndex(t)
	if err := a.JoinGroup(group, lo); err != nil {
		t.Skipf("no multicast on loopback here: %v", err)
	}
	b := udp(t, netip.MustParseAddrPort("0.0.0.0:0"))
	must(t, b.SetMulticastInterface(lo))
	must(t, b.SetMulticastLoop(true))
	must(t, b.SetMulticastTTL(1))
	if _, err := b.WriteTo([]byte("all"), netip.AddrPortFrom(group, a.LocalAddr().Port())); err != nil {
		t.Skipf("no multicast on loopback here: %v", err)
	}
	buf := make([]byte, 8)
	must(t, until(t, a, pollux.Readable, func() error { _, _, err := a.ReadFrom(buf); return err }))
	must(t, a.LeaveGroup(group, lo))
	if err := a.JoinGroup(netip.MustParseAddr("10.0.0.1"), lo); err == nil {
		t.Error("joined an invalid group")
	}
}

func TestBroadcastAndTTL(t *testing.T) {
	u := udp(t, loopback4)
	if on, err := u.Broadcast(); on || err != nil {
		t.Errorf("Broadcast = %v, %v at first", on, err)
	}
	must(t, u.SetBroadcast(true))
	if on, err := u.Broadcast(); !on || err != nil {
		t.Errorf("Broadcast = %v, %v", on, err)
	}
	must(t, u.SetTTL(3))
	if ttl, err := u.TTL(); ttl != 3 || err != nil {
		t.Errorf("TTL = %d, %v", ttl, err)
	}
}

// A send for which there is no buffer space returns ErrWouldBlock, and Writable is reported
// when there is some. On loopback that never happens.
func TestSendWouldBlock(t *testing.T) {
	silent := testkit.SilentHost(t)
	to := netip.AddrPortFrom(silent, 9)
	for what, send := range map[string]func(u *sock.UDPSocket) error{
		"WriteTo": func(u *sock.UDPSocket) error {
			_, err := u.WriteTo(make([]byte, 1000), to)
			return err
		},
		"WriteBatch": func(u *sock.UDPSocket) error {
			ms := make([]sock.Message, 2)
			for i := range ms {
				ms[i] = sock.Message{Data: make([]byte, 1000), Addr: to}
			}
			n, err := u.WriteBatch(ms)
			if n == 0 && err == nil {
				t.Error("nothing was sent, and there was no error")
			}
			return err
		},
	} {
		u := udp(t, netip.MustParseAddrPort("0.0.0.0:0"), sock.WriteBuffer(16<<10))
		var err error
		for range 1000 {
			if err = send(u); err != nil {
				break
			}
		}
		if !errors.Is(err, sock.ErrWouldBlock) {
			t.Fatalf("%s: %v, want would-block", what, err)
		}
		must(t, until(t, u, pollux.Writable, func() error { return send(u) }))
	}
}
