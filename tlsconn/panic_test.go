package tlsconn_test

import (
	"crypto/tls"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/tlsconn"
)

// L1: a panic of the Config's cache of sessions, which gets the tickets of TLS 1.3 on the loop, resets its connection, and the loop
// goes on.
func TestPanicInSessionCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		side{client: true, version: tls.VersionTLS13}.adverse(t, func(s side) {
			server, client := tlstest.Configs(s.version)
			n := looptest.New(t, s.network)
			host, other := n.Host(), n.Host()
			g := host.NewGroup(loop.Config{Loops: 1})
			ln := must(other.Listen("tcp", other.Addr().String()+":443"))
			defer ln.Close()
			healthy, broken := newRecorder(), newRecorder()
			var peerOfHealthy *tls.Conn
			for _, r := range []*recorder{healthy, broken} {
				if r == broken {
					client = client.Clone()
					client.ClientSessionCache = brokenCache{}
				}
				if err := g.Loops()[0].Dial(t.Context(), "tcp", ln.Addr().String(), func(*loop.Conn) loop.Handler { return tlsconn.Client(client, r) }, func(*loop.Conn, error) {}); err != nil {
					t.Fatal(err)
				}
				raw := must(ln.Accept())
				t.Cleanup(func() { raw.Close() })
				c := tls.Server(raw, server)
				if err := c.Handshake(); err != nil { // sends a ticket
					t.Fatal(err)
				}
				settle()
				if r == healthy {
					peerOfHealthy = c
					continue
				}
				if why := <-r.closed; why == nil || !strings.Contains(why.Error(), "panic in a callback of tls.Config: broken") {
					t.Error("Closed got", why)
				}
				if _, err := raw.Read(make([]byte, 1)); !isReset(err) {
					t.Errorf("the peer got %v, want a reset", err)
				}
			}
			io.WriteString(peerOfHealthy, "after all that")
			settle()
			if got := healthy.received(); string(got) != "after all that" {
				t.Errorf("the other connection got %q", got)
			}
		})
	})
}

func isReset(err error) bool {
	return err != nil && strings.Contains(err.Error(), syscall.ECONNRESET.Error())
}

// A brokenCache panics when a ticket is put into it.
type brokenCache struct{}

func (brokenCache) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (brokenCache) Put(string, *tls.ClientSessionState)        { panic("broken") }
