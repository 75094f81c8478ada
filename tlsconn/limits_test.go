package tlsconn_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/tlsengine"
	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/tlsconn"
)

// A handshake ends at its deadline, wherever it is: without a byte, within the ClientHello, after it.
func TestHandshakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, cut := range []int{0, 3, 100, 2000} {
			for _, client := range []bool{false, true} {
				s := side{version: tls.VersionTLS13, client: client}
				var failed error
				s.options = tlsconn.Options{HandshakeTimeout: 5 * time.Second, HandshakeFailed: func(_ *loop.Conn, err error) { failed = err }}
				begun := time.Now()
				raw, g, dialed := s.connect(t, dataOnly{})
				if cut > 0 {
					go s.other(&cutConn{Conn: raw, left: min(cut, 280), stop: true}).Handshake()
				}
				settle()
				io.ReadAll(raw)
				if took := time.Since(begun); took < 5*time.Second || took > 6*time.Second || !errors.Is(failed, tlsconn.ErrHandshakeTimeout) {
					t.Errorf("cut after %d bytes, client %v: ended after %v by %v, want 5 s", cut, client, took, failed)
				}
				timeout, ok := errors.AsType[net.Error](failed)
				if !ok || !timeout.Timeout() || !errors.Is(failed, os.ErrDeadlineExceeded) || !strings.Contains(failed.Error(), "not complete after 5s (Options.HandshakeTimeout)") {
					t.Errorf("%v: want a net.Error that is a timeout, with the limit", failed)
				}
				if stats := tlsconn.StatsOf(g); stats.TimedOut != 1 || stats.Failed != 1 || stats.InProgress != 0 {
					t.Errorf("Stats: %+v", stats)
				}
				if client {
					if err := <-dialed; !errors.Is(err, tlsconn.ErrHandshakeTimeout) {
						t.Errorf("Dial returned %v", err)
					}
				}
			}
		}
	})
}

// Clients that are silent from the beginning, within the ClientHello, or after it, however many they are, do not keep a
// healthy one from its handshake: it takes less than a second.
func TestSilentClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := tlstest.Configs(tls.VersionTLS13)
		n := looptest.New(t, looptest.Config{})
		host, other := n.Host(), n.Host()
		g := host.NewGroup(loop.Config{Loops: 1})
		ln := must(g.Listen("tcp", netip.AddrPortFrom(host.Addr(), 443).String(), func(*loop.Conn) loop.Handler { return tlsconn.Server(server, dataOnly{}) }))
		const silent = 500
		peers := make([]*looptest.Conn, 0, 3*silent)
		hello := clientHello(t, client)
		for i := range cap(peers) {
			c := must(other.Dial("tcp", ln.Addr().String()))
			peers = append(peers, c)
			c.Write(hello[:len(hello)*(i%3)/2])
		}
		settle()
		if s := tlsconn.StatsOf(g); s.InProgress != silent || s.Waiting != silent {
			t.Errorf("with %d silent clients: %+v, want a goroutine for those that have sent a ClientHello", len(peers), s)
		}
		raw := must(other.Dial("tcp", ln.Addr().String()))
		begun := time.Now()
		if err := tls.Client(raw, client).Handshake(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("a handshake has taken %v", took)
		}
		raw.Close()
		for _, c := range peers {
			c.Close()
		}
		settle()
		if s := tlsconn.StatsOf(g); s.InProgress != 0 || s.Failed != uint64(len(peers)) {
			t.Errorf("with all clients gone: %+v", s)
		}
	})
}

// clientHello returns the first flight of a client.
func clientHello(t *testing.T, config *tls.Config) []byte {
	c := &firstWrite{}
	if err := tls.Client(c, config).Handshake(); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	return c.first
}

type firstWrite struct {
	looptest.Conn
	first []byte
}

func (f *firstWrite) Write(b []byte) (int, error) {
	f.first = append(f.first, b...)
	return 0, errCut
}

func (f *firstWrite) Close() error { return nil }

// Messages of the handshake may be longer than what a handshake holds at once: receiving continues when it has read them.
func TestLongCertificates(t *testing.T) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(946684800, 0), NotAfter: time.Unix(4102444800, 0)}
	for i := range 3000 {
		template.DNSNames = append(template.DNSNames, fmt.Sprintf("name-%d.example", i))
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	long := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		synctest.Test(t, func(t *testing.T) {
			server, client := tlstest.Configs(version)
			server.Certificates, client.Certificates = long, long
			server.ClientAuth, client.InsecureSkipVerify = tls.RequireAnyClientCert, true
			s, _, dial := both(t, server, client)
			if _, err := dial(); err != nil {
				t.Fatal(err)
			}
			if state, ok := tlsconn.ConnectionState(<-s.opened); !ok || len(state.PeerCertificates[0].Raw) < 3*tlsengine.MaxHandshakeUnread {
				t.Error("the server has not got the client's certificate")
			}
		})
	}
}

// A dial whose context ends during the handshake returns, and nothing is left.
func TestDialIsCanceledDuringHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, client := tlstest.Configs(tls.VersionTLS13)
		n := looptest.New(t, looptest.Config{})
		host, other := n.Host(), n.Host()
		ln := must(host.Listen("tcp", host.Addr().String()+":443"))
		defer ln.Close()
		g := other.NewGroup(loop.Config{Loops: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := tlsconn.Dial(ctx, g, "tcp", ln.Addr().String(), client, func(*loop.Conn) loop.Handler { return dataOnly{} })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial returned %v", err)
		}
		settle()
		if s := tlsconn.StatsOf(g); g.Conns() != 0 || s.InProgress != 0 {
			t.Errorf("%d connections are left, and %+v", g.Conns(), s)
		}
	})
}
