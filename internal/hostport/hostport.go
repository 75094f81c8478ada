// Package hostport parses the addresses that a group listens at and dials: a host and a port,
// without a name lookup. It opens a socket only once, to find out whether the system has IPv6.
package hostport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/pollux-io/pollux/internal/misuse"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// ErrNetwork means that the network is unknown; the error lists the valid ones.
var ErrNetwork = errors.New("unknown network")

// invalid is an error about an address or a network. It wraps misuse.ErrBadArgument, without its
// text: the address is often a user's.
type invalid struct{ error }

// Unwrap makes errors.Is and errors.As check both.
func (e invalid) Unwrap() []error { return []error{e.error, misuse.ErrBadArgument} }

// Parse parses an address; kind is "tcp" or "udp", and network must be one of its variants. The
// error describes the invalid part, for display, and wraps misuse.ErrBadArgument.
func Parse(network, kind, address string) (netip.AddrPort, error) {
	at, err := parse(network, kind, address)
	if err != nil {
		return netip.AddrPort{}, invalid{err}
	}
	return at, nil
}

func parse(network, kind, address string) (netip.AddrPort, error) {
	version, ok := strings.CutPrefix(network, kind)
	if !ok || version != "" && version != "4" && version != "6" {
		err := fmt.Errorf("%q: %w; there are %q, %q and %q", network, ErrNetwork, kind, kind+"4", kind+"6")
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

// ParseStream is Parse for callers that also accept "unix", which they must handle
// themselves.
func ParseStream(network, address string) (netip.AddrPort, error) {
	at, err := Parse(network, "tcp", address)
	if errors.Is(err, ErrNetwork) {
		err = invalid{fmt.Errorf(`%q: %w; there are "tcp", "tcp4", "tcp6" and "unix"`, network, ErrNetwork)}
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
