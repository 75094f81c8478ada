// Package spread makes sockets at one address for several loops: one for each, where the system
// balances between them, or else one for all. It does not know loops. Read TCP first, then UDP.
package spread

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"syscall"

	"github.com/pollux-io/pollux/sock"
)

// severalSockets reports whether each of n loops gets a socket of its own, because the system
// balances between them (SO_REUSEPORT of Linux, socket(7)). Otherwise one socket serves all
// loops.
func severalSockets(n int) bool { return runtime.GOOS == "linux" && n > 1 }

// TCP listens at an address with the given options, on one socket for each of n loops, or on one
// socket in all. The first socket is bound with the caller's options only, and shares its port
// afterwards: if it set SO_REUSEPORT first, a second server would share the port without an error.
func TCP(n int, at netip.AddrPort, options ...sock.Option) (all []*sock.TCPListener, err error) {
	first, err := sock.ListenTCP(at, options...)
	if err != nil {
		return nil, err
	}
	all = []*sock.TCPListener{first}
	if !severalSockets(n) {
		return all, nil
	}
	at = first.Addr()
	port := portOf(first)
	if err := port.share(); err != nil {
		first.Close()
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(at), Err: err}
	}
	options = append(slices.Clip(options), sock.ReusePort(true))
	for range n - 1 {
		l, err := sock.ListenTCP(at, options...)
		switch {
		case err == nil:
			all = append(all, l)
		case errors.Is(err, syscall.EADDRINUSE) && port.restore() == nil:
			// The system considers the option as it was when the first socket was bound.
			CloseAll(all[1:])
			return all[:1], nil
		default:
			CloseAll(all)
			return nil, err
		}
	}
	return all, nil
}

// CloseAll closes sockets.
func CloseAll[S interface{ Close() error }](sockets []S) {
	for _, s := range sockets {
		s.Close()
	}
}
