package loop_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// tally counts the datagrams that each socket of a listener receives, by text.
type tally struct {
	mu   sync.Mutex
	got  map[*loop.PacketConn]map[string]int
	more chan struct{} // receives after each batch
}

func newTally() *tally {
	return &tally{got: map[*loop.PacketConn]map[string]int{}, more: make(chan struct{}, 1)}
}

// handler returns a function for ListenPacket. prepare may be nil.
func (y *tally) handler(prepare func(p *loop.PacketConn)) func(p *loop.PacketConn) loop.PacketHandler {
	return func(p *loop.PacketConn) loop.PacketHandler {
		if prepare != nil {
			prepare(p)
		}
		y.mu.Lock()
		y.got[p] = map[string]int{}
		y.mu.Unlock()
		return &packetFuncs{packets: func(p *loop.PacketConn, ms []sock.Message) {
			y.mu.Lock()
			for i := range ms {
				y.got[p][string(ms[i].Data[:ms[i].N])]++
			}
			y.mu.Unlock()
			select {
			case y.more <- struct{}{}:
			default:
			}
		}}
	}
}

// waitUntil waits until ok, which is called with mu held, returns true.
func (y *tally) waitUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(testTimeout)
	for {
		y.mu.Lock()
		is := ok()
		y.mu.Unlock()
		if is {
			return
		}
		select {
		case <-y.more:
		case <-limit:
			y.mu.Lock()
			defer y.mu.Unlock()
			t.Fatalf("timed out waiting for %s; received: %v", what, y.got)
		}
	}
}

func (y *tally) totalLocked(text string) (n int) {
	for _, got := range y.got {
		n += got[text]
	}
	return n
}

// toAll is a case of sending to many receivers, by broadcast or multicast.
type toAll struct {
	name    string
	listen  string // the server's address, with port 0
	from    string // the sender's address
	to      string // the broadcast or multicast address
	network string
	alone   bool // the server's address receives broadcasts or multicasts only
}

func toAllCases(t *testing.T) []toAll {
	all := []toAll{
		{"multicast", "0.0.0.0:0", "127.0.0.1:0", "239.255.77.9", "udp4", false},
		{"multicast to all of both families", "[::]:0", "127.0.0.1:0", "239.255.77.9", "udp", false},
		{"multicast of IPv6", "[::]:0", "[::]:0", "ff02::77:9", "udp", false},
		{"multicast of IPv6 within the host", "[::]:0", "[::]:0", "ff01::77:9", "udp6", false},
	}
	if runtime.GOOS != "windows" { // which cannot bind to a group
		all = append(all, toAll{"bound to the group", "239.255.77.9:0", "127.0.0.1:0", "239.255.77.9", "udp4", true})
	}
	if runtime.GOOS != "linux" {
		return all // loopback has no broadcast
	}
	all = append(all,
		toAll{"broadcast", "0.0.0.0:0", "127.0.0.1:0", "127.255.255.255", "udp4", false},
		toAll{"broadcast to all of both families", "[::]:0", "127.0.0.1:0", "127.255.255.255", "udp", false},
		toAll{"bound to the broadcast address", "127.255.255.255:0", "127.0.0.1:0", "127.255.255.255", "udp4", true},
	)
	if silent, ok := testkit.LookupSilentHost(); !ok {
		t.Log("broadcasts of a link are not tested: set " + testkit.SilentEnv + " to an address on a network of this machine that does not answer")
	} else {
		a := silent.As4()
		a[3] = 255
		b := netip.AddrFrom4(a).String()
		all = append(all,
			toAll{"broadcast of a link", "0.0.0.0:0", "0.0.0.0:0", b, "udp4", false},
			toAll{"bound to the broadcast address of a link", b + ":0", "0.0.0.0:0", b, "udp4", true},
		)
	}
	return all
}

// TestL12ToAllIsDeliveredOnce checks that each broadcast and multicast datagram is delivered once,
// however many loops there are, and that unicast datagrams are still spread over all loops.
func TestL12ToAllIsDeliveredOnce(t *testing.T) {
	for _, c := range toAllCases(t) {
		for _, loops := range []int{1, 2, 4} {
			t.Run(fmt.Sprintf("%s/%d", strings.ReplaceAll(c.name, " ", "-"), loops), func(t *testing.T) { testDeliveredOnce(t, c, loops) })
		}
	}
}

func testDeliveredOnce(t *testing.T, c toAll, loops int) {
	listInterfaces(t)
	g := group(t, loop.Config{Loops: loops})
	to := netip.MustParseAddr(c.to)
	on := 0
	if to.IsMulticast() {
		on = multicastInterface(t, to)
	}
	y := newTally()
	joined := make(chan error, loops)
	pl, err := g.ListenPacket(c.network, c.listen, y.handler(func(p *loop.PacketConn) {
		if to.IsMulticast() { // as a server does that does not know of the other loops
			joined <- p.JoinGroup(to, on)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-joined:
		if err != nil {
			t.Skipf("cannot join the group on this machine: %v", err)
		}
	default:
	}
	port := netip.MustParseAddrPort(pl.Addr().String()).Port()
	u, err := sock.ListenUDP(netip.MustParseAddrPort(c.from), onNet(t)...)
	if err != nil {
		t.Skip(err)
	}
	defer u.Close()
	if to.IsMulticast() {
		err = errors.Join(u.SetMulticastInterface(on), u.SetMulticastLoop(true), u.SetMulticastTTL(0)) // nothing leaves the host
	} else {
		err = u.SetBroadcast(true)
	}
	if errors.Is(err, syscall.ENOPROTOOPT) {
		t.Skip(err) // qemu-user has no IPV6_MULTICAST_IF
	}
	if err != nil {
		t.Fatal(err)
	}
	const n = 20
	for i := range n {
		if _, err := u.WriteTo(fmt.Appendf(nil, "to all %d", i), netip.AddrPortFrom(to, port)); err != nil {
			t.Skipf("cannot send to %v on this machine: %v", to, err)
		}
	}
	y.waitUntil(t, "the last datagram to all", func() bool { return y.totalLocked(fmt.Sprint("to all ", n-1)) > 0 })
	if c.alone {
		if len(y.got) != 1 {
			t.Errorf("the listener has %d sockets, want 1: each receives what is sent to all", len(y.got))
		}
		return
	}
	y.fence(t, port)
	y.mu.Lock()
	defer y.mu.Unlock()
	for i := range n {
		if got := y.totalLocked(fmt.Sprint("to all ", i)); got != 1 {
			t.Errorf("datagram %d was delivered %d times, want once", i, got)
		}
	}
	if want := loops; balances(t) && len(y.got) != want {
		t.Errorf("the listener has %d sockets, want %d", len(y.got), want)
	}
}

// fence sends unicast datagrams until each socket has received one: everything sent before has
// arrived by then.
func (y *tally) fence(t *testing.T, port uint16) {
	t.Helper()
	const most = 1000 // senders
	for i := range most {
		u, err := sock.ListenUDP(loopback, onNet(t)...)
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		y.sendUntil(t, u, "fence", port, i)
		every := true
		y.mu.Lock()
		for _, got := range y.got {
			every = every && got["fence"] > 0
		}
		y.mu.Unlock()
		if every {
			return
		}
	}
	t.Fatalf("a socket has received nothing from %d senders", most)
}

// sendUntil sends text until more than n of them were received. The first may go to a socket of a
// loop that has failed: the kernel closes the files of a ring some time after the ring.
func (y *tally) sendUntil(t *testing.T, u *sock.UDPSocket, text string, port uint16, n int) {
	t.Helper()
	received := func() bool {
		y.mu.Lock()
		defer y.mu.Unlock()
		return y.totalLocked(text) > n
	}
	for limit := time.Now().Add(testTimeout); !received(); {
		if time.Now().After(limit) {
			t.Fatalf("timed out waiting for a datagram %q", text)
		}
		if _, err := u.WriteTo([]byte(text), netip.AddrPortFrom(loopback.Addr(), port)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-y.more:
		case <-time.After(100 * time.Millisecond): // it is lost, or late
		}
	}
}

// listInterfaces lists the interfaces, or skips the test: qemu-user of a big-endian processor
// passes on netlink messages that net cannot parse. A listener on all addresses then has one
// socket.
func listInterfaces(t *testing.T) []net.Interface {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Skip("cannot list the interfaces on this machine: ", err)
	}
	return all
}

// multicastInterface returns the index of an interface for the group. On Linux, loopback has no
// route to IPv6 groups.
func multicastInterface(t *testing.T, group netip.Addr) int {
	t.Helper()
	for _, i := range listInterfaces(t) {
		if group.Is4() && i.Flags&net.FlagLoopback != 0 {
			return i.Index
		}
		if !group.Is4() && i.Flags&(net.FlagUp|net.FlagMulticast|net.FlagLoopback) == net.FlagUp|net.FlagMulticast && hasIPv6(i) {
			return i.Index
		}
	}
	t.Skipf("this machine has no interface for %v", group)
	return 0
}

func hasIPv6(i net.Interface) bool {
	addrs, _ := i.Addrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() == nil {
			return true
		}
	}
	return false
}

// TestL12UnicastSpreads checks that peers are spread over the loops, and that all datagrams of a
// peer go to the same loop.
func TestL12UnicastSpreads(t *testing.T) {
	if !balances(t) {
		t.Skip("a listener has one socket there")
	}
	listInterfaces(t)
	const loops, peers, each = 4, 200, 3
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0", ":0"} {
		y := newTally()
		pl, err := group(t, loop.Config{Loops: loops}).ListenPacket("udp", address, y.handler(nil))
		if err != nil {
			t.Fatal(err)
		}
		at := netip.AddrPortFrom(loopback.Addr(), netip.MustParseAddrPort(pl.Addr().String()).Port())
		for i := range peers {
			u, err := sock.ListenUDP(loopback, onNet(t)...)
			if err != nil {
				t.Fatal(err)
			}
			defer u.Close()
			for range each {
				u.WriteTo(fmt.Appendf(nil, "peer %d", i), at)
			}
			y.waitUntil(t, "the peer's datagrams", func() bool { return y.totalLocked(fmt.Sprint("peer ", i)) == each })
		}
		y.mu.Lock()
		var of []int
		for _, got := range y.got {
			of = append(of, len(got))
			for text, n := range got {
				if n != each {
					t.Errorf("%s: a socket got %d of the %d datagrams of %s, want all", address, n, each, text)
				}
			}
		}
		y.mu.Unlock()
		t.Logf("%s: peers per loop: %v", address, of)
		for _, n := range of {
			if n < peers/loops/4 || len(of) != loops {
				t.Errorf("%s: %d peers are unevenly spread: %v per loop", address, peers, of)
			}
		}
	}
}

// requireFilterRemoval skips the test if a filter cannot be detached from a socket: qemu-user
// lacks SO_DETACH_FILTER.
func requireFilterRemoval(t *testing.T) {
	t.Helper()
	u, err := sock.ListenUDP(loopback, onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	raw, err := u.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		if sys.DropBroadcasts(sys.FD(fd), nil) == 0 {
			if e := sys.AcceptBroadcasts(sys.FD(fd)); e != 0 {
				t.Skip("cannot detach a filter from a socket on this machine: ", e)
			}
		}
	})
}

// TestL12ToAllAfterALoopHasFailed checks that after the failure of the loop that receives what is
// sent to all, another loop does.
func TestL12ToAllAfterALoopHasFailed(t *testing.T) {
	if !balances(t) {
		t.Skip("a listener has one socket there, and ends with its loop")
	}
	listInterfaces(t)
	requireFilterRemoval(t)
	drivers := failingDrivers(t)
	const loops = 3
	g := group(t, loop.Config{Loops: loops, Logger: quiet()})
	y := newTally()
	pl, err := g.ListenPacket("udp4", "0.0.0.0:0", y.handler(nil))
	if err != nil {
		t.Fatal(err)
	}
	port := netip.MustParseAddrPort(pl.Addr().String()).Port()
	u, err := sock.ListenUDP(loopback, onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if err := u.SetBroadcast(true); err != nil {
		t.Fatal(err)
	}
	for i := range loops {
		text := fmt.Sprint("to all ", i)
		if _, err := u.WriteTo([]byte(text), netip.AddrPortFrom(netip.MustParseAddr("127.255.255.255"), port)); err != nil {
			t.Fatal(err)
		}
		y.waitUntil(t, text, func() bool { return y.totalLocked(text) > 0 })
		y.fence(t, port)
		var by *loop.PacketConn
		y.mu.Lock()
		for p, got := range y.got {
			if got[text] > 0 {
				by = p
			}
			delete(got, "fence")
		}
		if n := y.totalLocked(text); n != 1 {
			t.Errorf("with %d loops: a datagram to all was delivered %d times, want once", loops-i, n)
		}
		delete(y.got, by)
		y.mu.Unlock()
		for j, l := range g.Loops() {
			if l == by.Loop() {
				drivers()[j].Fail(errors.New("the driver has failed"))
				waitLoopEnd(t, l)
			}
		}
	}
}
