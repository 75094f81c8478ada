package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

func TestParseTarget(t *testing.T) {
	for address, want := range map[string]string{
		"a.example:80":         "a.example 80 ",
		"a.example:https":      "a.example 443 ",
		"a.example:x-service":  "a.example 0 x-service",
		":0":                   "localhost 0 ",
		"[::1%lo]:65535":       "::1%lo 65535 ",
		"[fe80::1%25eth0]:ssh": "fe80::1%25eth0 22 ",
		"a.example":            "missing port",
		"::1:80":               "too many colons",
		"a.example:65536":      "not a number",
		"a.example:-1":         "not a number",
		"a.example:+1":         "not a number",
		"a.example:":           "not a number",
		"a.example:8080x":      "not a number",
	} {
		got, err := parseTarget(address)
		switch {
		case err == nil && fmt.Sprint(got.host, " ", got.port, " ", got.service) != want,
			err != nil && (!strings.Contains(err.Error(), want) || !errors.Is(err, pollux.ErrBadArgument)):
			t.Errorf("%q: %+v, %v; want %q", address, got, err, want)
		}
	}
}

// Literals cost no query, whatever the network.
func TestDialLiteral(t *testing.T) {
	onDialTest(t, 0, func(d *dialTest) {
		for _, c := range []struct {
			network, address, remote string
			err                      error
		}{
			{"tcp", "10.1.0.1:80", "10.1.0.1:80", nil},
			{"tcp", "[::ffff:10.1.0.1]:http", "10.1.0.1:80", nil},
			{"tcp4", "[::ffff:10.1.0.1]:80", "10.1.0.1:80", nil},
			{"tcp6", "[2001:db8:1::1]:80", "[2001:db8:1::1]:80", nil},
			{"tcp6", "[::ffff:10.1.0.1]:80", "", ErrNoData},
			{"tcp6", "10.1.0.1:80", "", ErrNoData},
			{"tcp4", "[2001:db8:1::1]:80", "", ErrNoData},
			{"tcp", ":80", "", syscall.ECONNREFUSED},
			{"tcp", "0.0.0.0:80", "", syscall.ECONNREFUSED},
			{"tcp", "[::]:80", "", syscall.ECONNREFUSED},
		} {
			conn, err := d.dialer.Dial(d.T.Context(), c.network, c.address, d.accept)
			switch {
			case err != nil && (c.err == nil || !errors.Is(err, c.err)), err == nil && (c.err != nil || conn.RemoteAddr().String() != c.remote):
				t.Errorf("%+v: connected to %v, %v", c, conn, err)
			}
			if conn != nil {
				conn.Abort()
			}
		}
		if queries := d.Servers[0].Queries[0]; queries != 0 {
			t.Errorf("%d queries", queries)
		}
	})
}

// Errors name the address that was dialed.
func TestDialErrorNamesAddress(t *testing.T) {
	onDialTest(t, 0, func(d *dialTest) {
		for _, address := range []string{"missing.:80", "[2001:db8:1::1]:-1"} {
			_, err := d.dial(address)
			op, ok := errors.AsType[*net.OpError](err)
			if !ok || op.Addr == nil || op.Addr.String() != address || op.Addr.Network() != "tcp" {
				t.Errorf("%s: %v", address, err)
			}
		}
	})
}

// Services that need a lookup are looked up by the system, off the loop.
func TestDialService(t *testing.T) {
	const service = "gopher"
	want, err := net.LookupPort("tcp", service)
	if err != nil {
		t.Skipf("the system knows no port of %s: %v", service, err)
	}
	onDialTest(t, 0, func(d *dialTest) {
		ln := must(d.targets["10.1.0.1"].Listen("tcp", fmt.Sprint(":", want)))
		defer ln.Close()
		c, err := d.dial("10.1.0.1:" + service)
		if err != nil || c.RemoteAddr().String() != fmt.Sprint("10.1.0.1:", want) {
			t.Fatalf("%v, %v; want port %d", c, err, want)
		}
		must(ln.Accept()).Close()
		c.Abort()
		if _, err := d.dial("10.1.0.1:no-such-service"); !errors.Is(err, pollux.ErrBadArgument) || !strings.Contains(err.Error(), "no-such-service") {
			t.Errorf("%v, want ErrBadArgument", err)
		}
		ctx, cancel := context.WithCancel(d.T.Context())
		cancel()
		if _, err := d.dialer.Dial(ctx, "tcp", "10.1.0.1:"+service, d.accept); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want context.Canceled", err)
		}
		d.Resolver.Close()
		if _, err := d.dial("10.1.0.1:" + service); !errors.Is(err, ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
	})
}

// onLoopback runs f with a resolver on the system's network, whose hosts file has the name both, and the port of a
// listener of each address.
func onLoopback(t *testing.T, f func(r *Resolver, port string)) {
	t.Helper()
	testkit.CheckLeaks(t)
	ln4, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln4.Close()
	_, port, _ := net.SplitHostPort(ln4.Addr().String())
	ln6, err := net.Listen("tcp6", "[::1]:"+port)
	if err != nil {
		t.Skipf("no listener at port %s of ::1: %v", port, err)
	}
	defer ln6.Close()
	g := must(loop.NewGroup(loop.Config{Loops: 1}))
	defer g.Shutdown(t.Context())
	c := Config{Group: g, Servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}}
	files{hosts: "::1 both\n127.0.0.1 both\n"}.write(t, &c)
	r := must(New(c))
	defer r.Close()
	f(r, port)
}

// With a local address, only addresses of its family are connected to.
func TestDialLocalAddr(t *testing.T) {
	onLoopback(t, func(r *Resolver, port string) {
		d := Dialer{Resolver: r}
		accept := func(*loop.Conn) loop.Handler { return sink{make(chan error, 1)} }
		for local, want := range map[string]string{"127.0.0.1:0": "127.0.0.1", "[::1]:0": "::1"} {
			c, err := d.Dial(t.Context(), "tcp", "both:"+port, accept, sock.LocalAddr(netip.MustParseAddrPort(local)))
			if err != nil || c.RemoteAddr().String() != net.JoinHostPort(want, port) {
				t.Fatalf("from %s: connected to %v, %v; want %s", local, c, err, want)
			}
			c.Abort()
		}
	})
}

// An address may have a zone.
func TestDialZone(t *testing.T) {
	onLoopback(t, func(r *Resolver, port string) {
		i, err := net.InterfaceByIndex(1)
		if err != nil || i.Flags&net.FlagLoopback == 0 {
			t.Skipf("interface 1 is not that of loopback: %v, %v", i, err)
		}
		d := Dialer{Resolver: r}
		c, err := d.Dial(t.Context(), "tcp", "[::1%"+i.Name+"]:"+port, func(*loop.Conn) loop.Handler { return sink{make(chan error, 1)} })
		if err != nil {
			t.Fatal(err)
		}
		c.Abort()
	})
}
