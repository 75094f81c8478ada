package hostport

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ network, kind, address, want, err string }{
		{"tcp", "tcp", "127.0.0.1:80", "127.0.0.1:80", ""},
		{"tcp4", "tcp", ":0", "0.0.0.0:0", ""},
		{"tcp6", "tcp", "localhost:65535", "[::1]:65535", ""},
		{"udp", "udp", "LocalHost:1", "127.0.0.1:1", ""},
		{"udp6", "udp", "[::1]:53", "[::1]:53", ""},
		{"tcp4", "tcp", "[::1]:1", "", "not an address of network tcp4"},
		{"tcp6", "tcp", "127.0.0.1:1", "", "not an address of network tcp6"},
		{"tcp", "tcp", "127.0.0.1:65536", "", "not a number from 0 to 65535"},
		{"tcp", "tcp", "127.0.0.1:http", "", "not a number"},
		{"tcp", "tcp", "example.com:80", "", "not an IP address; look it up first"},
		{"tcp", "tcp", "127.0.0.1", "", "missing port"},
		{"tcp5", "tcp", "127.0.0.1:1", "", `there are "tcp", "tcp4" and "tcp6"`},
		{"tcp", "udp", "127.0.0.1:1", "", "Listen takes those of TCP"},
	} {
		got, err := Parse(c.network, c.kind, c.address)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("Parse(%q, %q, %q): error %v, want one with %q", c.network, c.kind, c.address, err, c.err)
			}
			continue
		}
		if err != nil || got != netip.MustParseAddrPort(c.want) {
			t.Errorf("Parse(%q, %q, %q) = %v, %v, want %s", c.network, c.kind, c.address, got, err, c.want)
		}
	}
	if _, err := ParseStream("sctp", "127.0.0.1:1"); !errors.Is(err, ErrNetwork) || !strings.Contains(err.Error(), `"unix"`) {
		t.Errorf("ParseStream of an unknown network: %v", err)
	}
}

// An empty host is the wildcard address of both families, unless the system has no IPv6.
func TestParseEmptyHost(t *testing.T) {
	got, err := Parse("tcp", "tcp", ":7")
	if err != nil || !got.Addr().IsUnspecified() || got.Port() != 7 {
		t.Errorf("got %v, %v", got, err)
	}
}
