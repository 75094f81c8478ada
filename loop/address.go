package loop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

var errNetwork = errors.New("unknown network")

// Resolve parses an address of host and port as Listen and ListenPacket do, without a name
// lookup: the host is an IP address, "localhost", or empty for all addresses; the port is a
// number. network is "tcp" or "udp", optionally followed by "4" or "6". The error describes the
// invalid part, for display.
func Resolve(network, address string) (netip.AddrPort, error) {
	if strings.HasPrefix(network, "udp") {
		return resolve(network, "udp", address)
	}
	return resolve(network, "tcp", address)
}

// resolve parses an address; kind is "tcp" or "udp", and network must be one of its variants.
func resolve(network, kind, address string) (netip.AddrPort, error) {
	version, ok := strings.CutPrefix(network, kind)
	if !ok || version != "" && version != "4" && version != "6" {
		err := fmt.Errorf("%q: %w; there are %q, %q and %q", network, errNetwork, kind, kind+"4", kind+"6")
		if kind == "udp" && strings.HasPrefix(network, "tcp") {
			err = fmt.Errorf("%w; Listen takes those of TCP", err)
		}
		return netip.AddrPort{}, err
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port %q of %q is not a number from 0 to 65535", service, address)
	}
	ip, err := resolveHost(host, version)
	switch {
	case err != nil:
		return netip.AddrPort{}, fmt.Errorf("host %q of %q is not an IP address; look it up first, such as by net.DefaultResolver.LookupNetIP", host, address)
	case version == "4" && !ip.Is4() || version == "6" && !ip.Is6():
		return netip.AddrPort{}, fmt.Errorf("%q is not an address of network %s", address, network)
	}
	return netip.AddrPortFrom(ip, uint16(port)), nil
}

// resolveStream is resolve for callers that also accept "unix", which they must handle
// themselves.
func resolveStream(network, address string) (netip.AddrPort, error) {
	at, err := resolve(network, "tcp", address)
	if errors.Is(err, errNetwork) {
		err = fmt.Errorf(`%q: %w; there are "tcp", "tcp4", "tcp6" and "unix"`, network, errNetwork)
	}
	return at, err
}

func resolveHost(host, version string) (netip.Addr, error) {
	switch {
	case host == "" && version == "4":
		return netip.IPv4Unspecified(), nil
	case host == "":
		return unspecified(), nil
	case !strings.EqualFold(host, "localhost"):
		return netip.ParseAddr(host)
	case version == "6":
		return netip.IPv6Loopback(), nil
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
}

// noIPv6 caches the result of the probe in unspecified, if that is permanent.
var noIPv6 struct {
	sync.Mutex
	known, missing bool
}

// unspecified returns the wildcard address: [::], which serves IPv4 too, unless the system has
// no IPv6.
func unspecified() netip.Addr {
	noIPv6.Lock()
	defer noIPv6.Unlock()
	is := noIPv6.missing
	if !noIPv6.known {
		probe, err := sock.ListenTCP(netip.AddrPortFrom(netip.IPv6Unspecified(), 0))
		switch {
		case err == nil:
			probe.Close()
			noIPv6.known = true
		case errors.Is(err, syscall.EAFNOSUPPORT), errors.Is(err, syscall.EADDRNOTAVAIL):
			noIPv6.known, noIPv6.missing = true, true
			is = true
		default: // out of descriptors or memory proves nothing: the caller gets that error too, or it has passed
			is = !sys.IsResourceError(err)
		}
	}
	if is {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// usesReusePort reports whether each of n loops gets a socket of its own, because the system
// balances between them (SO_REUSEPORT of Linux, socket(7)). Otherwise one socket serves all
// loops.
func usesReusePort(n int) bool { return runtime.GOOS == "linux" && n > 1 }

// spreadTCP listens at an address with the given options, on one socket for each of n loops, or
// on one socket in all.
func spreadTCP(n int, at netip.AddrPort, options ...sock.Option) (all []*sock.TCPListener, err error) {
	if usesReusePort(n) {
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
			closeAll(all)
			return nil, err
		}
		at = l.Addr()
		all = append(all, l)
	}
	return all, nil
}

func closeAll[S interface{ Close() error }](sockets []S) {
	for _, s := range sockets {
		s.Close()
	}
}
