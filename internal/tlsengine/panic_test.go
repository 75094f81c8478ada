package tlsengine

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
)

// A panic of what crypto/tls calls with a record, such as the cache of sessions, is the end of the Conn, and of nothing else.
func TestPanicAfterTheHandshakeEndsTheConn(t *testing.T) {
	testkit.CheckLeaks(t)
	for _, mode := range []Mode{InPlace, Copying} {
		server, client := tlstest.Configs(tls.VersionTLS13)
		client.ClientSessionCache = brokenCache{}
		r := newRig(t, Options{Config: client, Client: true, mode: mode}, -1, nil)
		other := r.other(server, false)
		go other.Handshake() // sends a ticket
		r.until(func() bool { return false })
		p, ok := errors.AsType[*PanicError](r.err)
		if !r.done || !ok || !strings.Contains(p.Error(), "broken") {
			t.Errorf("%v: %v, want the panic", mode, r.err)
		}
		if _, err := r.c.Send(nil, []byte("x")); !errors.Is(err, r.err) {
			t.Errorf("%v: Send after it: %v", mode, err)
		}
		if b := r.c.CloseNotify(nil); len(b) > 0 {
			t.Errorf("%v: close_notify was sent, which claims that the stream is complete", mode)
		}
		r.peer.Close()
	}
}

// Records of a cipher suite of CBC need random bytes: a panic of the Config's Rand ends the Conn, and no part of a record is sent.
func TestPanicInRandEndsTheConn(t *testing.T) {
	for name, send := range map[string]func(c *Conn) ([]byte, error){
		"Send":        func(c *Conn) ([]byte, error) { return c.Send([]byte("before"), []byte("x")) },
		"CloseNotify": func(c *Conn) ([]byte, error) { return c.CloseNotify([]byte("before")), c.err },
	} {
		server, client := tlstest.Configs(tls.VersionTLS12)
		broken := false
		server.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		client.CipherSuites = server.CipherSuites
		server.Rand = randFunc(func(b []byte) (int, error) {
			if broken {
				panic("broken")
			}
			return rand.Read(b)
		})
		r := newRig(t, Options{Config: server}, -1, nil)
		go r.other(client, true).Handshake()
		r.until(func() bool { return r.done })
		broken = true
		b, err := send(r.c)
		if p, ok := errors.AsType[*PanicError](err); !ok || p.Value != "broken" || string(b) != "before" {
			t.Errorf("%s: %q, %v; want the panic", name, b, err)
		}
		r.peer.Close()
	}
}

type randFunc func([]byte) (int, error)

func (f randFunc) Read(b []byte) (int, error) { return f(b) }

// A brokenCache panics when a ticket is put into it.
type brokenCache struct{}

func (brokenCache) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (brokenCache) Put(string, *tls.ClientSessionState)        { panic("broken") }
