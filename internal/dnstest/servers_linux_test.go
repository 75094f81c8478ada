package dnstest

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/internal/testkit"
)

// servers are NSD, unbound that asks NSD, and dnsmasq that asks unbound.
type servers struct{ nsd, unbound, dnsmasq *daemon }

func startServers(t *testing.T) servers {
	t.Helper()
	var s servers
	for _, program := range []string{"nsd", "unbound", "dnsmasq"} {
		path(t, program)
	}
	s.nsd = startDaemon(t, nsd(t))
	s.unbound = startDaemon(t, unbound(t, s.nsd.addr))
	s.dnsmasq = startDaemon(t, dnsmasq(t, s.unbound.addr))
	return s
}

// newResolver returns a resolver that asks servers, and reads no file of the system. By default an attempt waits so long, and
// there are so many, that a lookup succeeds on a busy machine, too.
func newResolver(t *testing.T, c dns.Config, addrs ...netip.AddrPort) *dns.Resolver {
	t.Helper()
	dir := t.TempDir()
	c.Servers = addrs
	for name, path := range map[string]*string{"resolv.conf": &c.ResolvConf, "nsswitch.conf": &c.NSSwitch, "hosts": &c.Hosts} {
		if *path == "" {
			*path = write(t, dir, name, "")
		}
	}
	if c.Timeout == 0 {
		c.Timeout, c.Attempts = 3*time.Second, int(testkit.Watchdog/(3*time.Second))
	}
	r := must(dns.New(c))
	t.Cleanup(func() { r.Close() })
	return r
}

func evented(d *daemon, transport string) dns.Path {
	return dns.Path(fmt.Sprintf("evented %v %s", d.addr, transport))
}
