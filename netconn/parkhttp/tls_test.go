package parkhttp_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
)

// newTLSRig is newRig with TLS below the listener. Clients must have the certificate of the second identity.
func newTLSRig(t *testing.T, g *loop.Group, configure func(*http.Server)) *rig {
	t.Helper()
	ids := tlstest.Identities()
	config, _ := tlstest.Configs(tls.VersionTLS13)
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, ids[1].Pool
	ln := must((&netconn.ListenConfig{Group: g, TLSConfig: config}).Listen("tcp", "127.0.0.1:0"))
	return serveRig(t, g, ln, func(s *http.Server) {
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.TLS == nil || !r.TLS.HandshakeComplete || len(r.TLS.PeerCertificates) != 1 || !r.TLS.PeerCertificates[0].Equal(ids[1].Certificate.Leaf) {
				t.Errorf("Request.TLS is %+v, want the client's certificate", r.TLS)
			}
			echo(w, r)
		})
		if configure != nil {
			configure(s)
		}
	})
}

func clientConfig() *tls.Config {
	_, config := tlstest.Configs(tls.VersionTLS13)
	config.Certificates = []tls.Certificate{tlstest.Identities()[1].Certificate}
	return config
}

// dialTLS is dial with TLS.
func (x *rig) dialTLS() *client {
	x.t.Helper()
	c, err := (&netconn.Dialer{Group: x.g, TLSConfig: clientConfig()}).Dial("tcp", x.ln.Addr().String())
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { c.Close() })
	return &client{c.(*netconn.TLSConn).Conn, x, bufio.NewReader(c)}
}

// HTTPS is parked with TLS below the listener, and its next request is served: the handshake, and the certificate of the client,
// last for the connection.
func TestParkTLS(t *testing.T) {
	run := func(t *testing.T, g *loop.Group) {
		x := newTLSRig(t, g, nil)
		c := x.dialTLS()
		for range 3 {
			c.send(post("/a", "castor"))
			c.expect("POST /a castor")
			x.awaitState("parked")
		}
		x.expectStates("new", "active", "idle", "parked", "woken", "active", "idle", "parked", "woken", "active", "idle", "parked")
		x.server.Close()
		c.expectEOF()
	}
	onBackends(t, run)
	onSim(t, run)
}

// A request is right wherever it is split into records, in front of, while and after the connection is parked. Fewer than four
// bytes of plaintext leave it parked.
func TestSplitTLS(t *testing.T) {
	request := post("/split", "pollux")
	inBubbles(t, func(t *testing.T, g *loop.Group) {
		x := newTLSRig(t, g, nil)
		c := x.dialTLS()
		for _, at := range []int{1, 3, 4, 5, 20, len(request) - 1} {
			c.send(get("/"))
			c.expect("GET / ")
			x.awaitParked(1)
			for i := range at { // a record for each byte
				c.send(request[i : i+1])
				time.Sleep(time.Millisecond)
			}
			time.Sleep(afterParking)
			if parked := x.ln.Parked() == 1; parked != (at < 4) {
				t.Errorf("parked: %v after %d bytes", parked, at)
			}
			c.send(request[at:])
			c.expect("POST /split pollux")
		}
	})
}

// A parked connection ends when the peer ends it, whether TLS allows that or not.
func TestParkedTLSEnds(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		x := newTLSRig(t, g, nil)
		for name, end := range map[string]func(c *tls.Conn, below *netconn.Conn){
			"close_notify": func(c *tls.Conn, _ *netconn.Conn) { c.CloseWrite() },
			"FIN":          func(_ *tls.Conn, below *netconn.Conn) { below.CloseWrite() },
			"garbage":      func(_ *tls.Conn, below *netconn.Conn) { io.WriteString(below, "castor and pollux") },
			"reset": func(_ *tls.Conn, below *netconn.Conn) {
				below.SetLinger(0)
				below.Close()
			},
		} {
			below := must(netconn.Dial(g, "tcp", x.ln.Addr().String())).(*netconn.Conn)
			c := tls.Client(below, clientConfig())
			must(io.WriteString(c, get("/")))
			if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
				t.Fatal(name, err)
			}
			x.awaitParked(1)
			end(c, below)
			x.awaitParked(0)
			below.Close()
		}
	})
}

// Neither kind of connection leads to ciphertext: that of Hijack is no syscall.Conn.
func TestHijackTLS(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		x := newTLSRig(t, g, func(s *http.Server) {
			s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				if _, ok := c.(syscall.Conn); ok {
					t.Error("the connection is a syscall.Conn")
				}
				if s := c.(interface{ ConnectionState() tls.ConnectionState }).ConnectionState(); len(s.PeerCertificates) != 1 {
					t.Errorf("%+v", s)
				}
				fmt.Fprint(c, "castor")
			})
		})
		c := x.dialTLS()
		c.send(get("/"))
		if b, err := io.ReadAll(c.in); string(b) != "castor" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	})
}

// maxParkedBytes is more than what an idle HTTPS connection may take of the heap, with both its ends. (With the buffers and the
// stack of net/http it is about 30 KB.)
const maxParkedBytes = 24 << 10

// A parked HTTPS connection has no goroutine and no buffers of net/http or of records.
func TestParkedTLSMemory(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector takes memory")
	}
	const conns = 200
	onBackends(t, func(t *testing.T, g *loop.Group) {
		x := newTLSRig(t, g, nil)
		measure := func() (bytes, goroutines int) {
			var m runtime.MemStats
			for range 3 { // sync.Pool keeps for two
				runtime.GC()
			}
			runtime.ReadMemStats(&m)
			return int(m.HeapAlloc + m.StackInuse), runtime.NumGoroutine()
		}
		var clients []net.Conn
		open := func(n int) {
			for range n {
				c := x.dialTLS()
				c.send(get("/"))
				c.expect("GET / ")
				clients = append(clients, c.Conn)
			}
			x.awaitParked(len(clients))
		}
		open(20) // what is allocated once
		bytes, goroutines := measure()
		open(conns)
		after, goroutinesAfter := measure()
		each := (after - bytes) / conns
		t.Logf("%d bytes for each connection, both ends", each)
		if each > maxParkedBytes || goroutinesAfter > goroutines+conns/10 {
			t.Errorf("%d bytes and %.1f goroutines for each connection, want %d and none", each, float64(goroutinesAfter-goroutines)/conns, maxParkedBytes)
		}
		runtime.KeepAlive(clients)
	})
}
