package spread

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

func TestTCP(t *testing.T) {
	all, err := TCP(3, netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer CloseAll(all)
	want := 1
	if runtime.GOOS == "linux" {
		want = 3
	}
	if len(all) != want {
		t.Errorf("%d sockets, want %d", len(all), want)
	}
	for _, l := range all {
		if l.Addr() != all[0].Addr() {
			t.Errorf("sockets listen at %v and %v", l.Addr(), all[0].Addr())
		}
	}
	// A second server must not share the port.
	if others, err := TCP(3, all[0].Addr()); !errors.Is(err, syscall.EADDRINUSE) {
		CloseAll(others)
		t.Errorf("a second server at %v: %v, want EADDRINUSE", all[0].Addr(), err)
	}
}

// The system distributes connections over all sockets, also over the first, which shares its port
// only after it has begun to listen.
func TestTCPDistributes(t *testing.T) {
	all, err := TCP(3, netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer CloseAll(all)
	const conns = 200
	for range conns {
		c, err := net.Dial("tcp", all[0].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	counts := make([]int, len(all))
	total := 0
	if !testkit.Eventually(func() bool {
		for i, l := range all {
			for {
				s, err := l.Accept()
				if err != nil {
					break
				}
				s.Close()
				counts[i]++
				total++
			}
		}
		return total == conns
	}) {
		t.Fatalf("%d of %d connections were accepted", total, conns)
	}
	for i, n := range counts {
		if n == 0 {
			t.Errorf("socket %d got no connection: %v", i, counts)
		}
	}
}

// A system that does not let a bound socket share its port gives one socket; whether other servers
// may share the port is up to the caller's options.
func TestTCPOneSocketIfNotShared(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is one socket on other systems")
	}
	for _, shared := range []bool{false, true} {
		calls := 0
		options := []sock.Option{sock.Control(func(fd uintptr) error {
			if calls++; calls > 1 { // the second socket cannot share the port
				if e := sys.SetReusePort(sys.FD(fd), false); e != 0 {
					return e
				}
			}
			return nil
		})}
		if shared {
			options = append(options, sock.ReusePort(true))
		}
		all, err := TCP(3, netip.MustParseAddrPort("127.0.0.1:0"), options...)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != 1 || calls != 2 {
			t.Errorf("%d sockets after %d were made, want 1 and 2", len(all), calls)
		}
		second, err := sock.ListenTCP(all[0].Addr(), sock.ReusePort(true))
		if err == nil {
			second.Close()
		}
		if (err == nil) != shared {
			t.Errorf("the caller has given ReusePort: %v; a second server gets %v", shared, err)
		}
		CloseAll(all)
	}
}

// A caller's ReusePort lets other servers share the port, and no other option does.
func TestTCPReusePortOfTheCaller(t *testing.T) {
	if !sys.HasReusePort {
		t.Skip("this system has no SO_REUSEPORT")
	}
	all, err := TCP(2, netip.MustParseAddrPort("127.0.0.1:0"), sock.ReusePort(true))
	if err != nil {
		t.Fatal(err)
	}
	defer CloseAll(all)
	others, err := TCP(2, all[0].Addr(), sock.ReusePort(true))
	if err != nil {
		t.Fatalf("a second server with ReusePort: %v", err)
	}
	CloseAll(others)
	if others, err := TCP(2, all[0].Addr()); !errors.Is(err, syscall.EADDRINUSE) {
		CloseAll(others)
		t.Errorf("a second server without ReusePort: %v, want EADDRINUSE", err)
	}
}
