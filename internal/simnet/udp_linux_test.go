package simnet

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
)

// The kernel is the specification of UDP sockets: each script runs on it and on a host of a network,
// and must give the same results.

// A udpRun is one run of a script.
type udpRun struct {
	t     *testing.T
	host  *Host // nil: the machine's kernel
	ifi   int   // the index of the loopback interface
	lines []string
	ports map[uint16]string
}

// logf adds a result of a call.
func (r *udpRun) logf(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// addr returns an address with its port replaced by that of the socket's name.
func (r *udpRun) addr(a netip.AddrPort) string {
	if name, ok := r.ports[a.Port()]; ok {
		return a.Addr().String() + ":" + name
	}
	return a.String()
}

// A udpSocket is a socket of a script.
type udpSocket struct {
	r      *udpRun
	name   string
	family int
	fd     sys.FD
	port   uint16 // that bindAny has got
}

func (r *udpRun) socket(name string, family int) *udpSocket {
	r.t.Helper()
	var fd sys.FD
	var e syscall.Errno
	if r.host == nil {
		fd, e = sys.Socket(family, sys.SOCK_DGRAM, 0)
	} else {
		fd, e = r.host.Socket(family, sys.SOCK_DGRAM)
	}
	if e != 0 {
		r.t.Fatal(e)
	}
	s := &udpSocket{r: r, name: name, family: family, fd: fd}
	r.t.Cleanup(func() { s.close() })
	return s
}

func (s *udpSocket) close() {
	if s.fd != sys.InvalidFD {
		sys.Close(s.fd)
		s.fd = sys.InvalidFD
	}
}

// bound returns a socket that is bound to a port that the system chooses.
func (r *udpRun) bound(name, ip string) *udpSocket {
	r.t.Helper()
	s := r.socket(name, sys.FamilyOf(netip.MustParseAddr(ip)))
	s.bindAny(ip)
	return s
}

// bindAny binds the socket to a port that the system chooses, which gets the socket's name.
func (s *udpSocket) bindAny(ip string) {
	s.r.t.Helper()
	if e := s.bindTo(netip.AddrPortFrom(netip.MustParseAddr(ip), 0)); e != 0 {
		s.r.t.Fatalf("bind %s: %v", ip, e)
	}
	s.port = s.local().Port()
	s.r.ports[s.port] = s.name
}

func (s *udpSocket) sockaddr(a netip.AddrPort) (sa sys.Sockaddr) {
	s.r.t.Helper()
	if !sa.SetAddrPort(a, s.family) {
		s.r.t.Fatalf("%v for family %d", a, s.family)
	}
	return sa
}

func (s *udpSocket) bindTo(a netip.AddrPort) syscall.Errno {
	sa := s.sockaddr(a)
	return sys.Bind(s.fd, &sa)
}

// bind binds the socket to the port of another one.
func (s *udpSocket) bind(ip string, other *udpSocket) {
	e := s.bindTo(netip.AddrPortFrom(netip.MustParseAddr(ip), other.local().Port()))
	s.r.logf("bind %s to %s:%s: %d", s.name, ip, other.name, e)
}

func (s *udpSocket) local() netip.AddrPort {
	sa, e := sys.LocalAddr(s.fd)
	if e != 0 {
		s.r.t.Fatal(e)
	}
	return sa.AddrPort()
}

// names logs the socket's addresses.
func (s *udpSocket) names() {
	local := s.local()
	if _, ok := s.r.ports[local.Port()]; !ok && local.Port() != 0 {
		s.r.ports[local.Port()] = s.name
	}
	peer, e := sys.PeerAddr(s.fd)
	s.r.logf("%s is %s, peer %s (%d)", s.name, s.r.addr(local), s.r.addr(peer.AddrPort()), e)
}

func (s *udpSocket) connectTo(a netip.AddrPort) {
	sa := s.sockaddr(a)
	s.r.logf("connect %s to %s: %d", s.name, s.r.addr(a), sys.Connect(s.fd, &sa))
	s.names()
}

func (s *udpSocket) connect(to *udpSocket) { s.connectTo(to.local()) }

func (s *udpSocket) disconnect() {
	sa := sys.Unspecified()
	s.r.logf("disconnect %s: %d", s.name, sys.Connect(s.fd, &sa))
	s.names()
}

func (s *udpSocket) send(text string) {
	n, e := sys.Send(s.fd, []byte(text), 0)
	s.r.logf("send %s %.20q: %d, %d", s.name, text, n, e)
}

func (s *udpSocket) sendToAddr(text string, to netip.AddrPort) {
	sa := s.sockaddr(to)
	n, e := sys.SendTo(s.fd, []byte(text), &sa)
	s.r.logf("send %s %.20q to %s: %d, %d", s.name, text, s.r.addr(to), n, e)
}

func (s *udpSocket) sendTo(text string, to *udpSocket) { s.sendToAddr(text, to.local()) }

// recv receives the next datagram, or error, which the kernel may deliver a little later.
func (s *udpSocket) recv(size int) {
	s.r.t.Helper()
	var n int
	var truncated bool
	var from sys.Sockaddr
	var e syscall.Errno
	b := make([]byte, size)
	if !testkit.Eventually(func() bool {
		n, truncated, e = sys.RecvFrom(s.fd, b, &from)
		return e != syscall.EAGAIN
	}) {
		s.r.t.Fatalf("%s receives nothing; so far:\n%s", s.name, strings.Join(s.r.lines, "\n"))
	}
	unread := ""
	if e == 0 {
		unread = fmt.Sprintf(" from %s, truncated %v", s.r.addr(from.AddrPort()), truncated)
	}
	s.r.logf("recv %s: %.20q, %d%s", s.name, b[:n], e, unread)
}

// empty checks that there is nothing to receive. A datagram that was received since shows that it
// would have arrived.
func (s *udpSocket) empty() {
	_, _, e := sys.RecvFrom(s.fd, make([]byte, 10), new(sys.Sockaddr))
	s.r.logf("recv %s: %d", s.name, e)
}

func (s *udpSocket) set(level, option, value int) {
	s.r.logf("set %s %d %d: %d", s.name, level, option, sys.SetInt(s.fd, level, option, value))
}

func (s *udpSocket) socketError() {
	var e syscall.Errno
	testkit.Eventually(func() bool { e = sys.SocketError(s.fd); return e != 0 })
	s.r.logf("error of %s: %d", s.name, e)
}

func (s *udpSocket) group(group string, join bool) {
	e := sys.SetMembership(s.fd, netip.MustParseAddr(group), s.r.ifi, join)
	s.r.logf("membership of %s in %s, %v: %d", s.name, group, join, e)
}

func at(s *udpSocket, ip string) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(ip), s.local().Port())
}

// udpScripts are the scripts. What one logs must not depend on time.
var udpScripts = map[string]func(r *udpRun){
	"datagrams are whole": func(r *udpRun) {
		a, b := r.bound("a", "127.0.0.1"), r.bound("b", "127.0.0.1")
		a.empty()
		for _, text := range []string{"hello", "", "12345678", "123456789"} {
			b.sendTo(text, a)
			a.recv(8)
		}
		b.sendTo("x", a)
		a.recv(0)
		a.empty()
		b.sendTo(strings.Repeat("x", 65_507), a)
		a.recv(70_000)
		b.sendTo(strings.Repeat("x", 65_508), a)
		b.sendTo(strings.Repeat("x", 70_000), a)
		b.sendToAddr("x", netip.MustParseAddrPort("127.0.0.1:0"))
		b.send("without a peer")
	},
	"IPv6 datagrams": func(r *udpRun) {
		a, b := r.bound("a", "::1"), r.bound("b", "::1")
		b.sendTo("six", a)
		a.recv(8)
		b.sendTo(strings.Repeat("x", 65_507), a)
		a.recv(70_000)
		b.sendTo(strings.Repeat("x", 70_000), a)
	},
	"a socket is bound when it sends": func(r *udpRun) {
		a, b := r.bound("a", "127.0.0.1"), r.socket("b", sys.AF_INET)
		b.names()
		b.sendTo("x", a)
		b.names()
		a.recv(8)
		b.bind("127.0.0.1", a)
	},
	"connected": func(r *udpRun) {
		a, b, c := r.bound("a", "127.0.0.1"), r.bound("b", "127.0.0.1"), r.bound("c", "127.0.0.1")
		c.sendTo("before", a)
		a.recv(10)
		a.connect(b)
		a.empty()
		c.sendTo("stranger", a)
		b.sendTo("peer", a)
		a.recv(10)
		a.empty()
		a.send("to the peer")
		b.recv(20)
		a.sendTo("to another", c)
		c.recv(20)
		a.connect(c)
		b.sendTo("not the peer any more", a)
		c.sendTo("peer", a)
		a.recv(10)
		a.disconnect() // it loses its port, which the system had chosen
		a.send("without a peer")
		a.sendTo("x", b)
		a.names()
		b.recv(10)
		a.disconnect()
		d, e := r.socket("d", sys.AF_INET), r.bound("e", "127.0.0.1")
		e.close()
		if d.bindTo(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), e.port)) != 0 {
			r.t.Skip("another process has taken the port")
		}
		r.ports[e.port] = "e"
		d.connect(b)
		c.sendTo("stranger", d)
		d.disconnect()
		c.sendTo("all again", d)
		d.recv(10)
	},
	"connecting chooses the local address": func(r *udpRun) {
		a, b, c := r.bound("a", "127.0.0.1"), r.socket("b", sys.AF_INET), r.bound("c", "0.0.0.0")
		b.connect(a)
		b.disconnect()
		b.connect(a)
		c.connect(a)
		c.disconnect()
		d := r.socket("d", sys.AF_INET)
		d.connectTo(at(a, "0.0.0.0"))
		d.send("x")
		a.recv(8)
		six := r.bound("six", "::")
		six.connect(a)
		six.send("x")
		a.recv(8)
		six.disconnect()
	},
	"refusal": func(r *udpRun) {
		gone := r.bound("gone", "127.0.0.1")
		a, b := r.socket("a", sys.AF_INET), r.socket("b", sys.AF_INET)
		a.connect(gone)
		b.sendTo("to be bound", gone)
		to := gone.local()
		gone.close()
		b.sendToAddr("x", to)
		b.sendToAddr("an unconnected socket notices nothing", to)
		a.send("x")
		a.recv(8)
		a.empty()
		a.send("x")
		a.socketError()
		a.empty()
		a.send("x")
		testkit.Eventually(func() bool { // until the refusal is there
			n, e := sys.Send(a.fd, []byte("y"), 0)
			if e != 0 {
				r.logf("send a: %d, %d", n, e)
			}
			return e != 0
		})
	},
	"bind conflicts": func(r *udpRun) {
		a := r.bound("a", "127.0.0.1")
		for _, ip := range []string{"127.0.0.1", "0.0.0.0", "127.0.0.2", "192.0.2.1"} {
			r.socket("on "+ip, sys.AF_INET).bind(ip, a)
		}
		r.socket("::", sys.AF_INET6).bind("::", a)
		r.socket("::1", sys.AF_INET6).bind("::1", a)
		only := r.socket("only", sys.AF_INET6)
		only.set(sys.IPPROTO_IPV6, sys.IPV6_V6ONLY, 1)
		only.bind("::", a)
		a.bind("127.0.0.1", a)
		all := r.bound("all", "0.0.0.0")
		r.socket("one", sys.AF_INET).bind("127.0.0.1", all)
		any := r.bound("any", "::")
		r.socket("four", sys.AF_INET).bind("127.0.0.1", any)
	},
	"shared ports": func(r *udpRun) {
		for _, option := range []int{sys.SO_REUSEADDR, sys.SO_REUSEPORT} {
			a := r.bound("a", "127.0.0.1")
			b := r.socket("b", sys.AF_INET)
			b.set(sys.SOL_SOCKET, option, 1)
			b.bind("127.0.0.1", a) // a has it not
			a.set(sys.SOL_SOCKET, option, 1)
			b.bind("127.0.0.1", a)
			r.socket("c", sys.AF_INET).bind("127.0.0.1", a)
		}
	},
	"the best socket receives": func(r *udpRun) {
		all := r.socket("all", sys.AF_INET)
		all.set(sys.SOL_SOCKET, sys.SO_REUSEADDR, 1)
		all.bindAny("0.0.0.0")
		one, conn := r.socket("one", sys.AF_INET), r.socket("conn", sys.AF_INET)
		for _, s := range []*udpSocket{one, conn} {
			s.set(sys.SOL_SOCKET, sys.SO_REUSEADDR, 1)
		}
		one.bind("127.0.0.1", all)
		from, other := r.bound("from", "127.0.0.1"), r.bound("other", "127.0.0.1")
		to := at(all, "127.0.0.1")
		from.sendToAddr("to the exact address", to)
		one.recv(30)
		conn.bind("127.0.0.1", all)
		conn.connect(from)
		from.sendToAddr("to the connected one", to)
		conn.recv(30)
		other.sendToAddr("to the exact address", to)
		one.recv(30)
		one.close()
		other.sendToAddr("to the only one", to)
		all.recv(30)
		for _, s := range []*udpSocket{all, conn} {
			s.empty()
		}
	},
	"dual stack": func(r *udpRun) {
		six, four := r.bound("six", "::"), r.bound("four", "127.0.0.1")
		four.sendToAddr("mapped", at(six, "127.0.0.1"))
		six.recv(10)
		six.sendTo("mapped", four)
		four.recv(10)
		six.sendToAddr("to itself", at(six, "::1"))
		six.recv(10)
		one := r.bound("one", "::1")
		one.sendTo("from ::1", four)
		only := r.socket("only", sys.AF_INET6)
		only.set(sys.IPPROTO_IPV6, sys.IPV6_V6ONLY, 1)
		only.bindAny("::")
		only.sendTo("IPv6 only", four)
	},
	"source of a socket on all addresses": func(r *udpRun) {
		all, a := r.bound("all", "0.0.0.0"), r.bound("a", "127.0.0.1")
		all.names()
		all.sendTo("x", a)
		a.recv(8)
		all.names()
		all.sendToAddr("to oneself", at(all, "0.0.0.0"))
		all.recv(20)
	},
	"a socket of another address": func(r *udpRun) {
		a, b := r.bound("a", "127.0.0.2"), r.bound("b", "127.0.0.1")
		b.sendTo("x", a)
		a.recv(8)
		a.sendTo("x", b)
		b.recv(8)
		c := r.socket("c", sys.AF_INET)
		c.connect(a)
		c.send("x")
		a.recv(8)
	},
	"broadcast": func(r *udpRun) {
		one, all, cast := r.bound("one", "127.0.0.1"), r.socket("all", sys.AF_INET), r.socket("cast", sys.AF_INET)
		from := r.bound("from", "127.0.0.1")
		for _, s := range []*udpSocket{one, all, cast} {
			s.set(sys.SOL_SOCKET, sys.SO_REUSEADDR, 1)
		}
		all.bind("0.0.0.0", one)
		cast.bind("127.255.255.255", one)
		to := at(one, "127.255.255.255")
		from.sendToAddr("without permission", to)
		from.connectTo(to)
		from.set(sys.SOL_SOCKET, sys.SO_BROADCAST, 1)
		from.sendToAddr("to all", to)
		all.recv(20)
		cast.recv(20)
		from.sendTo("to one", one)
		one.recv(20)
		for _, s := range []*udpSocket{one, all, cast} {
			s.empty()
		}
		cast.sendTo("from the broadcast address", from)
		from.recv(30)
	},
	"multicast": func(r *udpRun) {
		const group = "239.1.2.3"
		member, all, bystander := r.bound("member", "0.0.0.0"), r.socket("all", sys.AF_INET), r.bound("bystander", "127.0.0.1")
		named := r.socket("named", sys.AF_INET)
		for _, s := range []*udpSocket{member, all, bystander, named} {
			s.set(sys.SOL_SOCKET, sys.SO_REUSEADDR, 1)
		}
		all.bind("0.0.0.0", member)
		named.bind(group, member)
		from := r.bound("from", "127.0.0.1")
		r.logf("interface: %d", sys.SetMulticastInterface4(from.fd, r.ifi))
		to := at(member, group)
		from.sendToAddr("no member", to)
		member.group(group, true)
		member.group(group, true)
		member.group("239.1.2.4", false)
		from.sendToAddr("to the members", to)
		for _, s := range []*udpSocket{member, all, named} {
			s.recv(20)
		}
		from.set(sys.IPPROTO_IP, sys.IP_MULTICAST_LOOP, 0)
		from.sendToAddr("sent on the loopback interface", to)
		for _, s := range []*udpSocket{member, all, named} {
			s.recv(40)
		}
		from.set(sys.IPPROTO_IP, sys.IP_MULTICAST_LOOP, 1)
		from.set(sys.IPPROTO_IP, sys.IP_MULTICAST_TTL, 0)
		from.sendToAddr("within the host", to)
		for _, s := range []*udpSocket{member, all, named} {
			s.recv(20)
		}
		member.group(group, false)
		member.group(group, false)
		from.sendToAddr("no member any more", to)
		for _, s := range []*udpSocket{member, all, named, bystander} {
			s.empty()
		}
		member.group("239.1.2.4", true)
		member.close() // which leaves the group
		from.sendToAddr("no member any more", at(all, "239.1.2.4"))
		all.empty()
	},
	"IPv6 groups": func(r *udpRun) { // whether there is a route depends on the machine
		const group = "ff01::1234"
		member := r.bound("member", "::")
		member.group(group, true)
		member.group(group, true)
		member.group(group, false)
		member.group(group, false)
		four := r.bound("four", "127.0.0.1")
		four.group(group, true)
		member.group("239.1.2.3", true)
	},
	"shutdown": func(r *udpRun) {
		a, b := r.bound("a", "127.0.0.1"), r.bound("b", "127.0.0.1")
		r.logf("shutdown: %d", sys.Shutdown(a.fd, sys.SHUT_RDWR))
		b.connect(a)
		b.send("x")
		r.logf("shutdown: %d", sys.Shutdown(b.fd, sys.SHUT_RD))
		b.empty()
		c := r.bound("c", "127.0.0.1")
		c.connect(a)
		c.send("x")
		r.logf("shutdown: %d", sys.Shutdown(c.fd, sys.SHUT_RD))
		c.empty()
		a.sendTo("x", b)
		b.send("x")
		r.logf("shutdown: %d", sys.Shutdown(b.fd, sys.SHUT_WR))
		b.send("x")
		b.sendTo("x", a)
	},
	"calls of streams": func(r *udpRun) {
		a := r.bound("a", "127.0.0.1")
		r.logf("listen: %d", sys.Listen(a.fd, 1))
		_, e := sys.Accept(a.fd, new(sys.Sockaddr))
		r.logf("accept: %d", e)
		a.connect(a)
		_, e = sys.Send(a.fd, []byte("x"), sys.MSG_OOB)
		r.logf("send urgent: %d", e)
		a.send("to itself")
		a.recv(20)
		a.send("peek")
		b := make([]byte, 10)
		for _, flags := range []int{sys.MSG_PEEK, 0} {
			var n int
			testkit.Eventually(func() bool { n, e = sys.Recv(a.fd, b, flags); return e != syscall.EAGAIN })
			r.logf("recv %d: %q, %d", flags, b[:n], e)
		}
		a.empty()
	},
	"a full buffer drops what arrives": func(r *udpRun) {
		a, b := r.bound("a", "127.0.0.1"), r.bound("b", "127.0.0.1")
		a.set(sys.SOL_SOCKET, sys.SO_RCVBUF, 1)
		v, e := sys.GetInt(a.fd, sys.SOL_SOCKET, sys.SO_RCVBUF)
		r.logf("SO_RCVBUF: %d, %d", v, e)
		sa := b.sockaddr(a.local())
		const sent = 20
		for i := range sent {
			if _, e := sys.SendTo(b.fd, fmt.Append(nil, i), &sa); e != 0 {
				r.logf("send %d: %d", i, e)
			}
		}
		a.recv(10)
		received := 1
		buf := make([]byte, 10)
		for {
			n, _, e := sys.RecvFrom(a.fd, buf, &sa)
			if e != 0 {
				break
			}
			if want := fmt.Sprint(received); string(buf[:n]) != want {
				r.logf("received %q, want %q", buf[:n], want)
			}
			received++
		}
		r.logf("datagrams are dropped: %v", received < sent)
		b.sendTo("again", a)
		a.recv(10)
	},
}

// run runs a script on the machine's kernel, if host is nil, or a host of a network.
func runUDP(t *testing.T, host *Host, script func(r *udpRun)) (lines []string) {
	t.Run(map[bool]string{true: "kernel", false: "simnet"}[host == nil], func(t *testing.T) {
		r := &udpRun{t: t, host: host, ports: map[uint16]string{}, ifi: 1}
		ifs, err := net.Interfaces()
		must(t, err)
		if i := slices.IndexFunc(ifs, func(i net.Interface) bool { return i.Flags&net.FlagLoopback != 0 }); i >= 0 {
			r.ifi = ifs[i].Index
		}
		script(r)
		lines = r.lines
	})
	return lines
}

func TestUDPLikeLinux(t *testing.T) {
	testkit.CheckLeaks(t)
	for name, script := range udpScripts {
		t.Run(name, func(t *testing.T) {
			n := New(Config{})
			h := n.Host()
			want, got := runUDP(t, nil, script), runUDP(t, h, script)
			for i := range max(len(want), len(got)) {
				w, g := "(nothing)", "(nothing)"
				if i < len(want) {
					w = want[i]
				}
				if i < len(got) {
					g = got[i]
				}
				if w != g {
					t.Errorf("result %d:\n   kernel: %s\n   simnet: %s", i+1, w, g)
				}
			}
			if h.Descriptors() != 0 {
				t.Errorf("%d descriptors are open", h.Descriptors())
			}
		})
	}
}
