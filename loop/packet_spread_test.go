package loop_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// tally counts what each socket of a listener is given, by text.
type tally struct {
	mu   sync.Mutex
	got  map[*loop.PacketConn]map[string]int
	more chan struct{} // after each batch
}

func newTally() *tally {
	return &tally{got: map[*loop.PacketConn]map[string]int{}, more: make(chan struct{}, 1)}
}

// handler is for ListenPacket. prepare may be nil.
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

// waitUntil waits until ok, which is called with the lock held.
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
			t.Fatalf("%s did not come: %v", what, y.got)
		}
	}
}

func (y *tally) totalLocked(text string) (n int) {
	for _, got := range y.got {
		n += got[text]
	}
	return n
}

// toAll is a way to send to many.
type toAll struct {
	name    string
	listen  string // where the server is bound, with port 0
	from    string // where the sender is
	to      string
	network string
	alone   bool // all that the server's address receives was sent to many
}

func toAllCases(t *testing.T) []toAll {
	all := []toAll{
		{"multicast", "0.0.0.0:0", "127.0.0.1:0", "239.255.77.9", "udp4", false},
		{"multicast to all of both families", "[::]:0", "127.0.0.1:0", "239.255.77.9", "udp", false},
		{"multicast of IPv6", "[::]:0", "[::]:0", "ff02::77:9", "udp", false},
		{"multicast of IPv6 within the host", "[::]:0", "[::]:0", "ff01::77:9", "udp6", false},
	}
	if runtime.GOOS != "windows" { // which binds to no group
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
	if silent, err := netip.ParseAddr(os.Getenv("POLLUX_TEST_SILENT")); err != nil {
		t.Log("broadcasts of a link are not tried: set POLLUX_TEST_SILENT to an address on a network of this machine that does not answer")
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

// TestL12ToAllIsDeliveredOnce: each broadcast and multicast datagram comes once, however
// many loops there are, and what was sent to the host alone still goes to all loops.
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
		if to.IsMulticast() { // as a server does that does not know of the others
			joined <- p.JoinGroup(to, on)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-joined:
		if err != nil {
			t.Skipf("no such group here: %v", err)
		}
	default:
	}
	port := netip.MustParseAddrPort(pl.Addr().String()).Port()
	u, err := sock.ListenUDP(netip.MustParseAddrPort(c.from))
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
			t.Skipf("nothing can be sent to %v here: %v", to, err)
		}
	}
	y.waitUntil(t, "what was sent to all", func() bool { return y.totalLocked(fmt.Sprint("to all ", n-1)) > 0 })
	if c.alone {
		if len(y.got) != 1 {
			t.Errorf("there are %d sockets, and each gets what is sent to all", len(y.got))
		}
		return
	}
	y.fence(t, port)
	y.mu.Lock()
	defer y.mu.Unlock()
	for i := range n {
		if got := y.totalLocked(fmt.Sprint("to all ", i)); got != 1 {
			t.Errorf("datagram %d was delivered %d times", i, got)
		}
	}
	if want := loops; runtime.GOOS == "linux" && len(y.got) != want {
		t.Errorf("there are %d sockets, want %d", len(y.got), want)
	}
}

// fence sends to the host alone until each socket has got something: whatever was sent
// before is there by then.
func (y *tally) fence(t *testing.T, port uint16) {
	t.Helper()
	const most = 1000 // senders
	for i := range most {
		u, err := sock.ListenUDP(loopback)
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		if _, err := u.WriteTo([]byte("fence"), netip.AddrPortFrom(loopback.Addr(), port)); err != nil {
			t.Fatal(err)
		}
		y.waitUntil(t, "a fence", func() bool { return y.totalLocked("fence") > i })
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
	t.Fatalf("%d senders, and a socket has got nothing", most)
}

// listInterfaces lists the interfaces, where the system allows it: qemu-user of a big-endian
// processor passes on messages of netlink that net cannot read. A listener on all addresses
// has one socket then.
func listInterfaces(t *testing.T) []net.Interface {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Skip("the interfaces cannot be listed here: ", err)
	}
	return all
}

// multicastInterface returns the index of an interface that takes the group. For IPv6,
// loopback has no way to groups on Linux.
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

// TestL12UnicastSpreads: peers are spread over the loops, and a peer's datagrams stay on one
// of them.
func TestL12UnicastSpreads(t *testing.T) {
	if runtime.GOOS != "linux" {
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
			u, err := sock.ListenUDP(loopback)
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
					t.Errorf("%s: %d of the %d datagrams of %s went to one socket", address, n, each, text)
				}
			}
		}
		y.mu.Unlock()
		t.Logf("%s: peers of each loop: %v", address, of)
		for _, n := range of {
			if n < peers/loops/4 || len(of) != loops {
				t.Errorf("%s: %d peers are not spread: %v", address, peers, of)
			}
		}
	}
}

// requireFilterRemoval skips the test where a filter cannot be taken off a socket: qemu-user has
// no SO_DETACH_FILTER.
func requireFilterRemoval(t *testing.T) {
	t.Helper()
	u, err := sock.ListenUDP(loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	raw, err := u.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		if sys.DropToAll(sys.FD(fd), nil) == 0 {
			if e := sys.TakeToAll(sys.FD(fd)); e != 0 {
				t.Skip("a filter cannot be taken off a socket here: ", e)
			}
		}
	})
}

// TestL12ToAllAfterALoopHasFailed: if the loop that takes what was sent to many fails,
// another one does.
func TestL12ToAllAfterALoopHasFailed(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a listener has one socket there, and ends with its loop")
	}
	listInterfaces(t)
	requireFilterRemoval(t)
	drivers := loop.UseFailingDrivers(t)
	const loops = 3
	g := group(t, loop.Config{Loops: loops, Logger: quiet()})
	y := newTally()
	pl, err := g.ListenPacket("udp4", "0.0.0.0:0", y.handler(nil))
	if err != nil {
		t.Fatal(err)
	}
	port := netip.MustParseAddrPort(pl.Addr().String()).Port()
	u, err := sock.ListenUDP(loopback)
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
			t.Errorf("with %d loops: delivered %d times", loops-i, n)
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

// Where the interfaces cannot be listed, one socket receives everything: several would each
// deliver what is sent to a broadcast address that the filter does not know.
func TestL12OneSocketWithoutInterfaces(t *testing.T) {
	any4 := netip.MustParseAddrPort("0.0.0.0:0")
	for _, c := range []struct {
		err    error
		listed bool
	}{
		{syscall.EACCES, false}, {syscall.EINVAL, false}, {nil, true},
	} {
		all, err := loop.SpreadUDP(3, any4, func() ([]net.Interface, error) { return nil, c.err })
		if err != nil {
			t.Fatal(err)
		}
		if spread := len(all) > 1; spread != (c.listed && runtime.GOOS == "linux") {
			t.Errorf("with %v from net.Interfaces: %d sockets", c.err, len(all))
		}
		if second, err := sock.ListenUDP(all[0].LocalAddr(), sock.ReusePort()); len(all) == 1 && err == nil {
			second.Close()
			t.Errorf("with %v from net.Interfaces: others can share the port", c.err)
		} else if err == nil {
			second.Close()
		}
		for _, u := range all {
			u.Close()
		}
	}
	if runtime.GOOS != "linux" {
		return
	}
	_, err := loop.SpreadUDP(3, any4, func() ([]net.Interface, error) { return nil, os.NewSyscallError("netlinkrib", syscall.EMFILE) })
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("out of file descriptors: %v", err)
	}
}
