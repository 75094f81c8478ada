package netconn_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
	"github.com/pollux-io/pollux/sock"
)

// resolver returns a resolver that knows the names of a hosts file, and asks no server.
func resolver(t *testing.T, g *loop.Group, hosts string) *dns.Resolver {
	t.Helper()
	path := filepath.Join(testkit.TempDir(t), "hosts")
	if err := os.WriteFile(path, []byte(hosts), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := dns.New(dns.Config{Group: g, Hosts: path, Strategy: dns.Inline})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// A Dialer resolves names by its resolver, tries their addresses, and applies its options; a name that is not
// known is an error.
func TestDialName(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		ln := listen(t, g, "tcp")
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		// Nothing listens at the first address.
		d := netconn.Dialer{Group: g, Resolver: resolver(t, g, "127.0.0.2 castor\n127.0.0.1 castor\n"), Options: []sock.Option{sock.NoDelay(false)}}
		for range 3 { // on each loop
			c, err := d.Dial("tcp", net.JoinHostPort("castor", port))
			if err != nil {
				t.Fatal(err)
			}
			a := must(ln.Accept())
			c.Write([]byte("x"))
			discard(t, a, 1)
			c.Close()
			a.Close()
		}
		_, err := d.Dial("tcp", net.JoinHostPort("pollux", port))
		checkOpError(t, err, "dial", dns.ErrNotInline)
	})
}

// Without a resolver, names are resolved as the system is configured.
func TestDialNameWithoutResolver(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		ln := listen(t, g, "tcp")
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		c, err := netconn.Dial(g, "tcp4", net.JoinHostPort("netconn.localhost", port)) // RFC 6761, 6.3
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
}

// A dial ends with its context, also while its loop is busy, and leaves nothing behind.
func TestDialCanceled(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		r := resolver(t, g, "127.0.0.1 castor\n")
		ln := listen(t, g, "tcp")
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		hold, held := make(chan bool), make(chan bool, 8)
		for _, l := range g.Loops() {
			l.Run(func() { held <- true; <-hold })
		}
		for range g.Loops() {
			<-held
		}
		for _, host := range []string{"castor", "127.0.0.1"} {
			ctx, cancel := context.WithCancelCause(context.Background())
			why := errors.New("why")
			dialing := start(func() (int, error) {
				_, err := (&netconn.Dialer{Group: g, Resolver: r}).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
				return 0, err
			})
			cancel(why)
			checkOpError(t, (<-dialing).err, "dial", why)
			_, err := (&netconn.Dialer{Group: g, Resolver: r, Timeout: 10 * time.Millisecond}).Dial("tcp", net.JoinHostPort(host, port))
			checkOpError(t, err, "dial", context.DeadlineExceeded)
			if n := net.Error(nil); !errors.As(err, &n) || !n.Timeout() {
				t.Errorf("%v is not a timeout", err)
			}
		}
		close(hold)
	})
}

// Listeners and dialers work on a simulated network as on the system's, by name, too.
func TestDialSimulated(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		ln := listen(t, g, "tcp")
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		r := resolver(t, g, "127.0.0.1 castor\n")
		c, err := (&netconn.Dialer{Group: g, Resolver: r}).Dial("tcp", net.JoinHostPort("castor", port))
		if err != nil {
			t.Fatal(err)
		}
		a := must(ln.Accept())
		c.Close()
		if _, err := io.ReadAll(a); err != nil {
			t.Error(err)
		}
		a.Close()
		r.Close()
	})
}
