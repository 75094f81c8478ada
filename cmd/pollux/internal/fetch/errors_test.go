package fetch

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/cmd/pollux/internal/limits"
	"github.com/pollux-io/pollux/dns"
)

// The error of a failed lookup has the cause, the name server that was asked last, and advice that applies. Permanent are
// only the absence of a name or an address, and texts that cannot be names.
func TestLookupFailures(t *testing.T) {
	const network = "; check the network and its name servers"
	server := dns.Step{Server: netip.MustParseAddrPort("192.0.2.53:53")}
	servfail := errors.New("the server reports SERVFAIL")
	for _, c := range []struct {
		err       dns.Error
		want      string
		transient bool
	}{
		{dns.Error{Err: dns.ErrNoName}, "no such name; check the spelling", false},
		{dns.Error{Err: dns.ErrNoData}, "the name has no address; check the spelling", false},
		{dns.Error{Err: fmt.Errorf("%w: the reason", dns.ErrNoName)}, "no such name: the reason", false},
		{dns.Error{Err: fmt.Errorf("%w: the reason", pollux.ErrBadArgument)}, "the reason", false},
		{dns.Error{Err: servfail, Steps: []dns.Step{server}}, "the server reports SERVFAIL (name server 192.0.2.53:53)" + network, true},
		{dns.Error{Err: servfail, Steps: []dns.Step{{}, server}}, "the server reports SERVFAIL (2 attempts, the last at name server 192.0.2.53:53)" + network, true},
		{dns.Error{Err: &net.DNSError{Err: "server misbehaving", Name: "h.test", Server: "x"}}, "server misbehaving" + network, true},
		{dns.Error{Err: syscall.EMFILE}, syscall.EMFILE.Error() + "; " + limits.Advice, true},
		{dns.Error{Err: dns.ErrBusy}, dns.ErrBusy.Error() + network, true},
	} {
		c.err.Name = "h.test"
		err := dialFailure(&url.URL{Host: "h.test"}, &net.OpError{Op: "dial", Net: "tcp", Err: &c.err})
		if want := "look up h.test: " + c.want; err.Error() != want || isTransient(err) != c.transient {
			t.Errorf("%v, transient %v; want %s, %v", err, isTransient(err), want, c.transient)
		}
	}
}

// The error of a link-local address without a zone has what the system's error does not say, and how a zone is written.
func TestMissingZone(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EINVAL, syscall.EADDRNOTAVAIL, syscall.EHOSTUNREACH} {
		cause := fmt.Errorf("%w: the hint", os.NewSyscallError("connect", errno))
		addr := net.TCPAddrFromAddrPort(netip.MustParseAddrPort("[fe80::1]:80"))
		err := dialFailure(&url.URL{Scheme: "http", Host: "[fe80::1]"}, &net.OpError{Op: "dial", Net: "tcp", Addr: addr, Err: cause})
		if want := "connect to [fe80::1]:80: " + errno.Error() + ": the hint; in a URL write the % as %25"; err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
