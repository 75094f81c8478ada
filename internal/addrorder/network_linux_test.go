package addrorder

import (
	"net/netip"
	"testing"

	"github.com/pollux-io/pollux/sock"
)

// A probe that is used again finds the same source as a new socket: the one before must not stay.
func TestProbeIsUsedAgain(t *testing.T) {
	p := &probe{}
	defer p.close()
	fresh := func(dst netip.Addr) netip.Addr {
		u, err := sock.ConnectUDP(netip.AddrPortFrom(dst, 9))
		if err != nil {
			return netip.Addr{}
		}
		defer u.Close()
		return u.LocalAddr().Addr()
	}
	// The loopback's source differs from that of addresses elsewhere, and some have none.
	for range 3 {
		for _, text := range []string{"127.0.0.1", "127.1.2.3", "::1", "192.0.2.1", "127.9.9.9", "2001:db8::1", "::ffff:127.0.0.5", "0.0.0.1", "127.0.0.1"} {
			dst := netip.MustParseAddr(text)
			if got, want := p.source(dst), fresh(dst); got.Unmap() != want.Unmap() {
				t.Errorf("the source for %v is %v, want %v", dst, got, want)
			}
		}
	}
}
