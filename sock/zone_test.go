package sock_test

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/sock"
)

// linkCalls are the calls that accept an IPv6 address.
var linkCalls = map[string]func(ap netip.AddrPort) error{
	"ListenTCP": func(ap netip.AddrPort) error {
		l, err := sock.ListenTCP(ap)
		if err == nil {
			l.Close()
		}
		return err
	},
	"ListenUDP": func(ap netip.AddrPort) error {
		u, err := sock.ListenUDP(ap)
		if err == nil {
			u.Close()
		}
		return err
	},
	"ConnectTCP": func(ap netip.AddrPort) error {
		s, err := sock.ConnectTCP(ap)
		if err == nil {
			err = s.ConnectError()
			s.Close()
		}
		return err
	},
	"ConnectUDP": func(ap netip.AddrPort) error {
		u, err := sock.ConnectUDP(ap)
		if err == nil {
			u.Close()
		}
		return err
	},
	"LocalAddr": func(ap netip.AddrPort) error {
		u, err := sock.ConnectUDP(netip.AddrPortFrom(loopback6.Addr(), 9), sock.LocalAddr(ap))
		if err == nil {
			u.Close()
		}
		return err
	},
	"Connect": func(ap netip.AddrPort) error {
		return withUDP6(func(u *sock.UDPSocket) error { return u.Connect(ap) })
	},
	"WriteTo": func(ap netip.AddrPort) error {
		return withUDP6(func(u *sock.UDPSocket) error { _, err := u.WriteTo([]byte("x"), ap); return err })
	},
	"WriteBatch": func(ap netip.AddrPort) error {
		return withUDP6(func(u *sock.UDPSocket) error {
			_, err := u.WriteBatch([]sock.Message{{Data: []byte("x"), Addr: ap}})
			return err
		})
	},
}

func withUDP6(f func(u *sock.UDPSocket) error) error {
	u, err := sock.ListenUDP(loopback6)
	if err != nil {
		return err
	}
	defer u.Close()
	return f(u)
}

func needsIPv6(t *testing.T) {
	t.Helper()
	if err := withUDP6(func(*sock.UDPSocket) error { return nil }); err != nil {
		t.Skipf("skipped: no IPv6 here: %v", err)
	}
}

// If a link-local address without a zone is refused, the error says that the zone is
// missing. Linux sends datagrams without a zone on a link of its choice, if the socket is
// not bound to one.
func TestLinkLocalWithoutZone(t *testing.T) {
	needsIPv6(t)
	for name, call := range linkCalls {
		for _, at := range []string{"[fe80::1]:9", "[fe80::1%0]:9"} {
			err := call(netip.MustParseAddrPort(at))
			if err == nil && (name == "WriteTo" || name == "WriteBatch") {
				continue
			}
			var op *net.OpError
			if !errors.As(err, &op) || !strings.Contains(err.Error(), "fe80::1 is link-local: name its interface, as in fe80::1%") {
				t.Errorf("%s %s: %v, want an error about the zone", name, at, err)
			}
		}
	}
}

// The error for a zone that is not an interface names the zone, a number or a name.
func TestUnknownZone(t *testing.T) {
	needsIPv6(t)
	const none = 987654
	for name, call := range linkCalls {
		err := call(netip.MustParseAddrPort("[fe80::1%" + strconv.Itoa(none) + "]:9"))
		if err == nil || !strings.Contains(err.Error(), "no network interface 987654") {
			t.Errorf("%s: %v, want an error that names the interface", name, err)
		}
		err = call(netip.MustParseAddrPort("[fe80::1%nowhere]:9"))
		if err == nil || !strings.Contains(err.Error(), `no network interface "nowhere"`) {
			t.Errorf("%s: %v, want an error that names the interface", name, err)
		}
	}
}

// Errors of addresses that need no zone do not mention zones.
func TestZoneIsNotMissingElsewhere(t *testing.T) {
	_, err := sock.ListenTCP(netip.MustParseAddrPort("192.0.2.1:9"))
	if !errors.Is(err, syscall.EADDRNOTAVAIL) || strings.Contains(err.Error(), "link-local") {
		t.Errorf("%v, want EADDRNOTAVAIL alone", err)
	}
}

// A zone may be an interface's name or its number.
func TestZoneByNumberAndName(t *testing.T) {
	for _, ifi := range interfaces(t) {
		addrs, err := ifi.Addrs()
		must(t, err)
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err != nil || !p.Addr().IsLinkLocalUnicast() || !p.Addr().Is6() {
				continue
			}
			for _, zone := range []string{ifi.Name, strconv.Itoa(ifi.Index)} {
				l, err := sock.ListenTCP(netip.AddrPortFrom(p.Addr().WithZone(zone), 0))
				if err != nil {
					t.Errorf("%v%%%s: %v", p.Addr(), zone, err)
					continue
				}
				if got := l.Addr().Addr(); got != p.Addr().WithZone(strconv.Itoa(ifi.Index)) {
					t.Errorf("listens on %v", got)
				}
				l.Close()
			}
			return
		}
	}
	t.Skip("skipped: this machine has no link-local address")
}
