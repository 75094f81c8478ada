package loop_test

import (
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// faulty is a listening socket of which every other accept fails with the next of errnos.
type faulty struct {
	*sock.TCPListener
	errnos   []syscall.Errno
	calls    int
	failures atomic.Int32
}

func (f *faulty) AcceptFrom(s *sock.Stream) (netip.AddrPort, error) {
	f.calls++
	n := int(f.failures.Load())
	if f.calls%2 == 0 || n == len(f.errnos) {
		return f.TCPListener.AcceptFrom(s)
	}
	f.failures.Add(1)
	return netip.AddrPort{}, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept", f.errnos[n])}
}

// No error of accept ends the listener.
func TestFaultAcceptErrors(t *testing.T) {
	l, err := sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"), onNet(t)...)
	if err != nil {
		t.Fatal(err)
	}
	f := &faulty{TCPListener: l, errnos: []syscall.Errno{
		syscall.ENFILE, syscall.ENOBUFS, syscall.ECONNABORTED, syscall.EINTR, syscall.EMFILE, syscall.ENOMEM, syscall.EPROTO, syscall.EPERM,
	}}
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	ln, err := loop.ServeAcceptor(g, net.TCPAddrFromAddrPort(l.Addr()), f, func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * len(f.errnos) {
		ping(t, dial(t, ln.Addr()))
	}
	if n := int(f.failures.Load()); n == 0 {
		t.Skipf("the driver %s does not call AcceptFrom, so accept cannot be made to fail", g.Backend())
	} else if n < len(f.errnos) {
		t.Errorf("accept failed %d times, want %d", n, len(f.errnos))
	}
}

// Connections that are reset in the backlog do not prevent those behind them from being accepted.
func TestFaultResetInTheBacklog(t *testing.T) {
	g, c := serve(t, loop.Config{Loops: 1, Logger: quiet()}, func(*loop.Conn) loop.Handler { return echo{} })
	ping(t, c)
	hold := make(chan bool)
	g.Loops()[0].Run(func() { <-hold })
	resets := 50
	if sys.OnWine() {
		resets = 4 // there, accepting a reset connection fails, and the listener backs off
	}
	for range resets {
		d := dial(t, c.RemoteAddr())
		d.SetLinger(0)
		d.Close()
	}
	behind := dial(t, c.RemoteAddr())
	close(hold)
	ping(t, behind)
	ping(t, c)
}
