package serve

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pollux-io/pollux/loop"
)

// An Address is an address to listen at, in the form of package loop.
type Address struct{ Network, At string }

// ParseAddress parses tcp://HOST:PORT, udp://HOST:PORT, both also with 4 or 6 after
// the network, unix://PATH, or a bare HOST:PORT, which is TCP.
func ParseAddress(text string) (Address, error) {
	network, at, ok := strings.Cut(text, "://")
	if !ok {
		network, at = "tcp", text
	}
	a := Address{network, at}
	var err error
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
		if err = checkHost(at); err == nil {
			_, err = loop.Resolve(network, at)
		}
	case "unix":
		if at == "" {
			err = fmt.Errorf("no path")
		}
	default:
		err = fmt.Errorf("unknown network %q", network)
	}
	if err != nil {
		return Address{}, fmt.Errorf("%q: %w; write it like tcp://127.0.0.1:7000, tcp://[::1]:7000, udp://127.0.0.1:7000 or unix:///run/echo.sock", text, err)
	}
	return a, nil
}

// checkHost refuses a host name, with an error for users of the program; that of package
// loop is for programmers.
func checkHost(at string) error {
	host, _, err := net.SplitHostPort(at)
	if err != nil || host == "" || strings.EqualFold(host, "localhost") {
		return nil
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return fmt.Errorf("host %q is a name: give an IP address, or localhost", host)
	}
	return nil
}

// CheckHostPort returns an error if text is not a HOST:PORT of package net.
func CheckHostPort(text string) error {
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%q: give an address like 127.0.0.1:9100", text)
	}
	return nil
}
