// Package spread makes sockets at one address for several loops: one for each, where the system
// balances between them, or else one for all. It does not know loops. Read TCP first, then UDP.
package spread

import (
	"net/netip"
	"runtime"

	"github.com/pollux-io/pollux/sock"
)

// severalSockets reports whether each of n loops gets a socket of its own, because the system
// balances between them (SO_REUSEPORT of Linux, socket(7)). Otherwise one socket serves all
// loops.
func severalSockets(n int) bool { return runtime.GOOS == "linux" && n > 1 }

// TCP listens at an address with the given options, on one socket for each of n loops, or
// on one socket in all.
func TCP(n int, at netip.AddrPort, options ...sock.Option) (all []*sock.TCPListener, err error) {
	if severalSockets(n) {
		options = append(options, sock.ReusePort())
	} else {
		n = 1
	}
	if n > 1 && at.Port() != 0 {
		// With SO_REUSEPORT a second server would share the port without an error.
		probe, err := sock.ListenTCP(at)
		if err != nil {
			return nil, err
		}
		probe.Close()
	}
	for range n {
		l, err := sock.ListenTCP(at, options...)
		if err != nil {
			CloseAll(all)
			return nil, err
		}
		at = l.Addr()
		all = append(all, l)
	}
	return all, nil
}

// CloseAll closes sockets.
func CloseAll[S interface{ Close() error }](sockets []S) {
	for _, s := range sockets {
		s.Close()
	}
}
