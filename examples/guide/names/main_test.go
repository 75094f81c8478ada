package main

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// A zone has the IPv4 addresses of names. A name that it does not have does not exist; one whose address is
// invalid exists, and has none.
type zone map[string]netip.Addr

// serveZone is a DNS server on port 53 of a simulated host. Each response repeats the question as it is, in the
// case in which it was asked.
func serveZone(t *testing.T, h *looptest.Host, z zone) netip.AddrPort {
	t.Helper()
	conn, err := h.ListenPacket("udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			if response, err := z.respond(&m).Pack(); err == nil {
				conn.WriteTo(response, from)
			}
		}
	}()
	return netip.AddrPortFrom(h.Addr(), 53)
}

// respond returns the response to a query.
func (z zone) respond(query *dnsmessage.Message) *dnsmessage.Message {
	m := &dnsmessage.Message{
		Header:    dnsmessage.Header{ID: query.ID, Response: true, RecursionDesired: true, RecursionAvailable: true},
		Questions: query.Questions,
	}
	q := m.Questions[0]
	switch addr, ok := z[strings.ToLower(q.Name.String())]; {
	case !ok:
		m.RCode = dnsmessage.RCodeNameError
	case addr.Is4() && q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60},
			Body:   &dnsmessage.AResource{A: addr.As4()},
		}}
	}
	return m
}

// A names is the server of this package, a client, and a DNS server.
type names struct {
	*looptest.Network
	dns      *looptest.Host
	server   *looptest.Host
	resolver *dns.Resolver
	peer     *looptest.Conn
	lines    *bufio.Reader
}

// start starts them. It must be called in a bubble.
func start(t *testing.T) *names {
	t.Helper()
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("192.0.2.7 printer\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	network := looptest.New(t, looptest.Config{})
	n := &names{Network: network, dns: network.Host(), server: network.Host()}
	server := serveZone(t, n.dns, zone{"example.org.": netip.MustParseAddr("192.0.2.1"), "xn--bcher-kva.example.": netip.MustParseAddr("192.0.2.2"), "empty.example.": {}})
	g := n.server.NewGroup(loop.Config{})
	r, _, err := serve(g, ":7000", dns.Config{
		Strategy: dns.Evented, Servers: []netip.AddrPort{server},
		Hosts: hosts, ResolvConf: os.DevNull, // not those of the machine
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	n.resolver = r
	if n.peer, err = network.Host().Dial("tcp", n.server.String()+":7000"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.peer.Close() })
	n.lines = bufio.NewReader(n.peer)
	return n
}

// ask returns the answer to a line.
func (n *names) ask(t *testing.T, line string) string {
	t.Helper()
	fmt.Fprintln(n.peer, line)
	got, err := n.lines.ReadString('\n')
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return strings.TrimSuffix(got, "\n")
}

// Each name is answered from the nearest source that has it.
func TestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t)
		evented := fmt.Sprintf("(evented %v:53 udp)", n.dns)
		for _, c := range [][2]string{
			{"127.0.0.1", "127.0.0.1 (literal)"},
			{"localhost", "127.0.0.1 ::1 (localhost)"},
			{"printer", "192.0.2.7 (hosts)"},
			{"example.org", "192.0.2.1 " + evented},
			{"Example.ORG", "192.0.2.1 (cache)"},
			{"bücher.example", "192.0.2.2 " + evented},
			{"empty.example", "no addresses"},
			{"missing.example", "no addresses"},
			{"127.1", "error"},
		} {
			if got := n.ask(t, c[0]); got != c[1] {
				t.Errorf("%s: %q, want %q", c[0], got, c[1])
			}
		}
	})
}

// Lines that arrive together are answered in their order, one lookup at a time.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t)
		n.SetLink(n.server, n.dns, looptest.Link{Latency: 20 * time.Millisecond})
		if got := n.ask(t, "example.org\nlocalhost"); !strings.HasPrefix(got, "192.0.2.1 ") {
			t.Errorf("first %q", got)
		}
		if got, err := n.lines.ReadString('\n'); got != "127.0.0.1 ::1 (localhost)\n" {
			t.Errorf("second %q, %v", got, err)
		}
	})
}

// A DNS server that is silent for a second costs one attempt. Nothing is lost if it is silent for longer than all of
// them, 10 s: the client can ask again.
func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t)
		n.Partition(n.server, n.dns)
		time.AfterFunc(time.Second, func() { n.Heal(n.server, n.dns) })
		begun := time.Now()
		if got := n.ask(t, "example.org"); !strings.HasPrefix(got, "192.0.2.1 ") {
			t.Errorf("answer %q", got)
		}
		if took := time.Since(begun).Round(time.Second); took != 5*time.Second {
			t.Errorf("the second attempt began after %v", took)
		}
		n.resolver.Flush()
		n.Partition(n.server, n.dns)
		begun = time.Now()
		if got := n.ask(t, "example.org"); got != "try again later" {
			t.Errorf("answer %q", got)
		}
		if took := time.Since(begun).Round(time.Second); took != 10*time.Second {
			t.Errorf("the lookup took %v", took)
		}
	})
}

// A client that goes away cancels its lookup.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t)
		n.Partition(n.server, n.dns)
		fmt.Fprintln(n.peer, "example.org")
		time.Sleep(time.Second)
		if s := n.resolver.Stats(); s.InFlight != 2 {
			t.Errorf("%d queries in flight, want those for A and AAAA", s.InFlight)
		}
		n.peer.Abort()
		time.Sleep(time.Second)
		if s := n.resolver.Stats(); s.InFlight != 0 || s.Waiting != 0 {
			t.Errorf("%d queries, %d waiters are left", s.InFlight, s.Waiting)
		}
	})
}
