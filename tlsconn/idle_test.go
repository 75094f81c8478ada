package tlsconn_test

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"runtime"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/internal/tlsengine"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/tlsconn"
)

// maxIdleHeapBytes is what an accepted connection that is idle may have in the heap, by the version of TLS. Of that crypto/tls of
// Go 1.26 has 3,000 bytes with TLS 1.3, and 170 more with TLS 1.2. docs/performance.md has the memory of a whole process.
var maxIdleHeapBytes = map[uint16]int{tls.VersionTLS12: 3650, tls.VersionTLS13: 3500}

// An accepted connection that is idle, after a message, has at most maxIdleHeapBytes: the heap shrinks by so much for each
// connection that ends, while the clients' sockets stay.
func TestIdleConnectionHeap(t *testing.T) {
	switch {
	case testkit.Race:
		t.Skip("skipped: the race detector changes allocations")
	case os.Getenv(tlsengine.ModeEnv) != "":
		t.Skip("skipped: " + tlsengine.ModeEnv + " forces the fall-back, which keeps buffers")
	case !tlsconn.StatsOf(nil).InPlace:
		t.Skip("skipped: records are copied, so connections keep buffers: ", tlsconn.StatsOf(nil).Reason)
	}
	onBackends(t, func(t *testing.T, g *loop.Group) {
		versions(t, func(t *testing.T, server, client *tls.Config) {
			ln := must(g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return tlsconn.Server(server, echo{}) }))
			defer ln.Close()
			const conns = 256
			message := make([]byte, 64)
			for range conns {
				raw := must(net.Dial("tcp", ln.Addr().String()))
				defer raw.Close()
				c := tls.Client(raw, client) // garbage, after this
				if _, err := c.Write(message); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(c, message); err != nil {
					t.Fatal(err)
				}
			}
			open := heapBytes(g)
			if err := g.Each(func(c *loop.Conn) { c.Abort() }); err != nil {
				t.Fatal(err)
			}
			if !testkit.Eventually(func() bool { return g.Conns() == 0 }) {
				t.Fatal("connections stay")
			}
			each := (open - heapBytes(g)) / conns
			if most := maxIdleHeapBytes[client.MaxVersion]; each > most {
				t.Errorf("an idle connection has %d bytes, more than %d; crypto/tls of %s may have more than that of Go 1.26", each, most, runtime.Version())
			}
		})
	})
}

// heapBytes returns the bytes of the heap that are in use when the loops have done what they were asked for before.
func heapBytes(g *loop.Group) int {
	for _, l := range g.Loops() {
		done := make(chan bool)
		l.Run(func() { close(done) })
		<-done
	}
	runtime.GC()
	runtime.GC() // what finalizers and sync.Pool had kept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
