package simnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
)

// receive returns the next datagram and its sender.
func receive(t *testing.T, c *PacketConn) (string, net.Addr) {
	t.Helper()
	b := make([]byte, 70_000)
	c.SetReadDeadline(time.Now().Add(time.Minute))
	defer c.SetReadDeadline(time.Time{})
	k, from, err := c.ReadFrom(b)
	if err != nil {
		t.Fatalf("ReadFrom: %v", err)
	}
	return string(b[:k]), from
}

func sendTo(t *testing.T, c *PacketConn, text string, to string) {
	t.Helper()
	if k, err := c.WriteToUDPAddrPort([]byte(text), netip.MustParseAddrPort(to)); k != len(text) || err != nil {
		t.Fatalf("WriteTo(%q, %s) = %d, %v", text, to, k, err)
	}
}

func portOf(c *PacketConn) uint16 { return c.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

func TestDatagramsBetweenHosts(t *testing.T) {
	bubble(t, Config{Link: Link{Latency: time.Millisecond}}, func(t *testing.T, n *Network) {
		a, b := n.Host(), n.Host(netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"))
		from, err := a.ListenPacket("udp", ":0")
		must(t, err)
		defer from.Close()
		to := listenPacket(t, b)
		for _, text := range []string{"hello", "", strings.Repeat("x", 65_507)} {
			start := time.Now()
			sendTo(t, from, text, to.LocalAddr().String())
			got, addr := receive(t, to)
			took(t, "a datagram", start, time.Millisecond)
			if got != text || addr.String() != fmt.Sprintf("%v:%d", a.Addr(), portOf(from)) {
				t.Errorf("received %.20q from %v", got, addr)
			}
			if k, err := to.WriteTo([]byte("back"), addr); k != 4 || err != nil {
				t.Errorf("WriteTo = %d, %v", k, err)
			}
			if got, addr := receive(t, from); got != "back" || addr.String() != to.LocalAddr().String() {
				t.Errorf("received %q from %v", got, addr)
			}
		}
		// No host has the address: the datagram is lost. No address of the sender's is of the family: an error.
		sendTo(t, from, "nowhere", "192.0.2.99:1")
		if _, err := from.WriteToUDPAddrPort([]byte("x"), netip.MustParseAddrPort("[2001:db8::1]:1")); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("to a family that the host does not have: %v, want ENETUNREACH", err)
		}
		if !strings.Contains(n.Trace(), fates[fateNoHost]) {
			t.Errorf("the trace does not have the lost datagram:\n%s", n.Trace())
		}
	})
}

// A refusal takes the way there and back, and only a socket that has connected notices it.
func TestRefusalBetweenHosts(t *testing.T) {
	bubble(t, Config{Link: Link{Latency: 5 * time.Millisecond}}, func(t *testing.T, n *Network) {
		a, b := n.Host(), n.Host()
		to := b.Addr().String() + ":9"
		c, err := a.Dial(context.Background(), "udp", to)
		must(t, err)
		defer c.Close()
		start := time.Now()
		write(t, c, "x")
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Read = %v, want ECONNREFUSED", err)
		}
		took(t, "a refusal", start, 10*time.Millisecond)
		u := listenPacket(t, a)
		sendTo(t, u, "x", to)
		noDatagram(t, u)
		// A host that is down refuses nothing.
		b.Crash()
		write(t, c, "x")
		c.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read = %v, want nothing", err)
		}
		b.Restart()
		c.SetReadDeadline(time.Time{})
		write(t, c, "x")
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Read after the restart = %v, want ECONNREFUSED", err)
		}
		// An error about a datagram to an earlier peer is not reported for the current one.
		write(t, c, "x")
		n.NewActor().Wait(7 * time.Millisecond) // the refusal is on its way
		if e := c.s.Connect(c.s.sockaddr(u.s.local)); e != 0 {
			t.Fatal(e)
		}
		c.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read after a change of the peer = %v, want nothing", err)
		}
		// Without a peer the socket has no port, which the system has chosen.
		before := c.s.local.ip.Port()
		if e := c.s.Connect(sys.Unspecified()); e != 0 || len(a.ports[port{udp, before}]) != 0 {
			t.Errorf("disconnecting: %v; port %d has sockets %v", e, before, a.ports[port{udp, before}])
		}
	})
}

// groupHosts returns sockets on one port, of hosts which have IPv4 and IPv6 addresses, but for the
// last, which has IPv4 only.
func groupHosts(t *testing.T, n *Network, network string) (all []*PacketConn) {
	for i := range 4 {
		addrs := []netip.Addr{netip.AddrFrom4([4]byte{10, 1, 0, byte(i + 1)})}
		if i < 3 {
			addrs = append(addrs, netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i+1)))
		}
		c, err := n.Host(addrs...).ListenPacket(network, ":700")
		must(t, err)
		t.Cleanup(func() { c.Close() })
		all = append(all, c)
	}
	return all
}

// whoReceives returns the indexes of the sockets that have a datagram with the text, which is all that
// they have.
func whoReceives(t *testing.T, all []*PacketConn, text string) (got []int) {
	t.Helper()
	n := all[0].s.host.n
	n.NewActor().Wait(time.Second)
	for i, c := range all {
		for {
			b := make([]byte, 100)
			k, _, _, e := c.s.RecvFrom(b)
			if e == syscall.EAGAIN {
				break
			}
			if e != 0 || string(b[:k]) != text {
				t.Errorf("socket %d received %q, %v, want %q", i, b[:k], e, text)
			}
			got = append(got, i)
		}
	}
	return got
}

func expect(t *testing.T, what string, got []int, want ...int) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: sockets %v receive, want %v", what, got, want)
	}
}

func TestBroadcastBetweenHosts(t *testing.T) {
	bubble(t, Config{Link: Link{Latency: time.Millisecond}}, func(t *testing.T, n *Network) {
		all := groupHosts(t, n, "udp4")
		only6 := n.Host(netip.MustParseAddr("2001:db8::9"))
		u, err := only6.ListenPacket("udp4", ":700")
		must(t, err)
		defer u.Close()
		const to = "255.255.255.255:700"
		if _, err := all[0].WriteToUDPAddrPort([]byte("x"), netip.MustParseAddrPort(to)); !errors.Is(err, syscall.EACCES) {
			t.Errorf("without SO_BROADCAST: %v, want EACCES", err)
		}
		must(t, all[0].SetBroadcast(true))
		all = append(all, u)
		sendTo(t, all[0], "to all", to)
		expect(t, "a broadcast", whoReceives(t, all, "to all"), 0, 1, 2, 3)
		sendTo(t, all[0], "loopback", "127.255.255.255:700")
		expect(t, "a broadcast of loopback", whoReceives(t, all, "loopback"), 0)
		n.Partition(all[0].s.host, all[1].s.host, true)
		sendTo(t, all[0], "to some", to)
		expect(t, "a broadcast in a partition", whoReceives(t, all, "to some"), 0, 2, 3)
		must(t, u.SetBroadcast(true))
		sendTo(t, u, "own host", to)
		expect(t, "a broadcast of a host without IPv4", whoReceives(t, all, "own host"), 4)
	})
}

func TestMulticastBetweenHosts(t *testing.T) {
	for network, group := range map[string]string{"udp4": "239.1.2.3", "udp6": "ff02::1234"} {
		bubble(t, Config{Link: Link{Latency: time.Millisecond}}, func(t *testing.T, n *Network) {
			all := groupHosts(t, n, network)
			ip := netip.MustParseAddr(group)
			to := netip.AddrPortFrom(ip, 700).String()
			loop, ttl, level, family := sys.IP_MULTICAST_LOOP, sys.IP_MULTICAST_TTL, sys.IPPROTO_IP, 4
			if network == "udp6" {
				loop, ttl, level, family = sys.IPV6_MULTICAST_LOOP, sys.IPV6_MULTICAST_HOPS, sys.IPPROTO_IPV6, 6
			}
			sendTo(t, all[0], "no members", to)
			expect(t, "a group without members", whoReceives(t, all, "no members"))
			for _, i := range []int{0, 1, 3} {
				must(t, all[i].JoinGroup(ip))
			}
			members := []int{0, 1, 3}
			if family == 6 {
				members = members[:2] // the last host is not on the link
			}
			sendTo(t, all[0], "members", to)
			expect(t, "a group", whoReceives(t, all, "members"), members...)
			sendTo(t, all[2], "from outside", to)
			expect(t, "a group, from a host that is not in it", whoReceives(t, all, "from outside"), members...)
			must(t, all[0].setInt(level, loop, 0))
			sendTo(t, all[0], "no loop", to)
			expect(t, "a group without loop", whoReceives(t, all, "no loop"), members[1:]...)
			must(t, all[0].setInt(level, loop, 1))
			must(t, all[0].setInt(level, ttl, 0))
			sendTo(t, all[0], "no hops", to)
			expect(t, "a group with no hops", whoReceives(t, all, "no hops"), 0)
			must(t, all[0].LeaveGroup(ip))
			sendTo(t, all[2], "left", to)
			expect(t, "a group that a host has left", whoReceives(t, all, "left"), members[1:]...)
			if err := all[0].LeaveGroup(ip); !errors.Is(err, syscall.EADDRNOTAVAIL) {
				t.Errorf("LeaveGroup of another host: %v, want EADDRNOTAVAIL", err)
			}
		})
	}
}

func TestGroupLimit(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		u := listenPacket(t, n.Host())
		ip := netip.MustParseAddr("239.0.0.1")
		for i := range maxGroups4 + 1 {
			err := u.JoinGroup(ip)
			if i < maxGroups4 && err != nil || i == maxGroups4 && !errors.Is(err, syscall.ENOBUFS) {
				t.Errorf("group %d: %v", i+1, err)
			}
			ip = ip.Next()
		}
	})
}

// A full buffer loses what arrives, and takes datagrams again when there is space.
func TestReceiveBufferFull(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		h := n.Host()
		from, to := listenPacket(t, h), listenPacket(t, h)
		must(t, to.SetReadBuffer(10_000)) // 20,000 as Linux counts
		const size, sent = 1000, 50
		for i := range sent {
			sendTo(t, from, fmt.Sprintf("%0*d", size, i), to.LocalAddr().String())
		}
		// The last one is taken while the buffer is not full.
		const want = 20_000/(size+datagramExtra) + 1
		for i := range want {
			if got, _ := receive(t, to); got != fmt.Sprintf("%0*d", size, i) {
				t.Errorf("datagram %d is %.10q…", i, got)
			}
		}
		noDatagram(t, to)
		if lost := strings.Count(n.Trace(), fates[fateFull]); lost != sent-want {
			t.Errorf("%d lost datagrams in the trace, want %d", lost, sent-want)
		}
		sendTo(t, from, "again", to.LocalAddr().String())
		if got, _ := receive(t, to); got != "again" {
			t.Errorf("received %q", got)
		}
	})
}

// The queue of a socket keeps its order while it grows, shrinks and moves.
func TestReceiveQueue(t *testing.T) {
	bubble(t, Config{TraceEvents: -1}, func(t *testing.T, n *Network) {
		h := n.Host()
		from, to := listenPacket(t, h), listenPacket(t, h)
		r := newRand(1)
		next, last := 0, 0
		for range 5000 {
			if last-next < 100 && r.IntN(2) == 0 {
				sendTo(t, from, fmt.Sprint(last), to.LocalAddr().String())
				last++
			} else if next < last {
				if got, _ := receive(t, to); got != fmt.Sprint(next) {
					t.Fatalf("received %q, want %d", got, next)
				}
				next++
			}
		}
		d := to.s.protocol.(*datagramSocket)
		for next < last {
			receive(t, to)
			next++
		}
		if d.used != 0 || len(d.queue) != 0 || d.head != 0 || cap(d.queue) > 1000 {
			t.Errorf("an empty queue: %d bytes, length %d, capacity %d", d.used, len(d.queue), cap(d.queue))
		}
	})
}

func TestPacketConnErrors(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		h := n.Host()
		for _, network := range []string{"tcp", "unix", "ip", ""} {
			if c, err := h.ListenPacket(network, ":0"); err == nil {
				t.Errorf("ListenPacket(%q) succeeds", network)
				c.Close()
			}
		}
		if _, err := h.ListenPacket("udp", "192.0.2.1:0"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("an address of no host: %v, want EADDRNOTAVAIL", err)
		}
		c := listenPacket(t, h)
		for _, to := range []net.Addr{nil, (*net.UDPAddr)(nil), &net.TCPAddr{}, &net.UDPAddr{}, &net.UDPAddr{IP: net.IPv6loopback, Port: 1}} {
			if _, err := c.WriteTo([]byte("x"), to); !errors.Is(err, syscall.EINVAL) {
				t.Errorf("WriteTo(%v) = %v, want EINVAL", to, err)
			}
		}
		var op *net.OpError
		_, err := c.WriteToUDPAddrPort(make([]byte, 70_000), netip.MustParseAddrPort("127.0.0.1:1"))
		if !errors.Is(err, syscall.EMSGSIZE) || !errors.As(err, &op) || op.Addr.String() != "127.0.0.1:1" {
			t.Errorf("a long datagram: %v", err)
		}
		start := time.Now()
		c.SetReadDeadline(start.Add(time.Second))
		if _, _, err := c.ReadFrom(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ReadFrom = %v, want a timeout", err)
		}
		took(t, "the deadline", start, time.Second)
		c.SetReadDeadline(time.Time{})
		done := make(chan error)
		go func() {
			_, _, err := c.ReadFrom(make([]byte, 1))
			done <- err
		}()
		time.Sleep(time.Second)
		must(t, c.Close())
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("ReadFrom of a closed socket = %v, want ErrClosed", err)
		}
		if _, err := c.WriteToUDPAddrPort([]byte("x"), netip.MustParseAddrPort("127.0.0.1:1")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("WriteTo = %v, want ErrClosed", err)
		}
		if h.Descriptors() != 0 {
			t.Errorf("%d descriptors are open", h.Descriptors())
		}
	})
}

// A datagram that is sent, received and read allocates nothing.
func TestDatagramsAllocateNothing(t *testing.T) {
	n := New(Config{TraceEvents: 100})
	h := n.Host()
	from, to := listenPacket(t, h), listenPacket(t, h)
	bufs, b := [][]byte{[]byte("x")}, make([]byte, 10)
	d, r := from.s.protocol.(*datagramSocket), to.s.protocol.(*datagramSocket)
	if e := d.connectLocked(to.s.local); e != 0 {
		t.Fatal(e)
	}
	once := func() {
		if _, e := d.sendLocked(bufs, 0); e != 0 {
			t.Fatal(e)
		}
		if k, _, _, e := r.recvFromLocked(b); k != 1 || e != 0 {
			t.Fatal(k, e)
		}
	}
	for range 200 {
		once()
	}
	if allocs := testing.AllocsPerRun(100, once); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkDatagram(b *testing.B) {
	for name, link := range map[string]Link{"zero": {}, "latency": {Latency: time.Nanosecond}} {
		b.Run(name, func(b *testing.B) {
			n := New(Config{Manual: true, Link: link})
			from, to := n.Host(), n.Host()
			x, err := from.ListenPacket("udp", ":0")
			must(b, err)
			y, err := to.ListenPacket("udp", ":0")
			must(b, err)
			d, r := x.s.protocol.(*datagramSocket), y.s.protocol.(*datagramSocket)
			dst := address{ip: netip.AddrPortFrom(to.Addr(), portOf(y))}
			data, buf := make([]byte, 100), make([]byte, 100)
			b.ReportAllocs()
			for b.Loop() {
				d.sendToLocked(data, dst)
				n.manual++
				n.doLocked(n.manual)
				if _, _, _, e := r.recvFromLocked(buf); e != 0 {
					b.Fatal(e)
				}
			}
			x.Close()
			y.Close()
			n.Close()
		})
	}
}
