package netconn_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
	"github.com/pollux-io/pollux/tlsconn"
)

// Truncation is not EOF: a connection that ends by FIN alone has failed, for a Read that waits and for later ones, after everything
// that was received before.
func TestTruncation(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		halves(t, g, func(c *netconn.TLSConn, peer *tls.Conn, below *netconn.Conn) {
			// More than is read ahead: the end comes while the loop does not receive.
			text := testkit.Text(2 * netconn.MaxUnreadBytes)
			sent := start(func() (int, error) {
				n, err := peer.Write(text)
				return n, errors.Join(err, below.CloseWrite()) // without close_notify
			})
			if !testkit.Eventually(func() bool { return netconn.Unread(c.Conn) >= netconn.MaxUnreadBytes }) {
				t.Errorf("%d bytes are unread", netconn.Unread(c.Conn))
			}
			b, err := io.ReadAll(c)
			if !bytes.Equal(b, text) || errors.Is(err, io.EOF) {
				t.Errorf("%d bytes, %v, want %d", len(b), err, len(text))
			}
			if r := <-sent; r.err != nil {
				t.Error(r.err)
			}
			checkOpError(t, err, "read", io.ErrUnexpectedEOF)
			_, err = c.Read(make([]byte, 1))
			checkOpError(t, err, "read", tlsconn.ErrTruncated)
			_, err = c.Write([]byte("x"))
			checkOpError(t, err, "write", tlsconn.ErrTruncated)
		})
	})
}

// close_notify is EOF. This side can still write, with TLS 1.3, and Close of it is the end of the peer's stream.
func TestTLSHalfClose(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		halves(t, g, func(c *netconn.TLSConn, peer *tls.Conn, _ *netconn.Conn) {
			must(io.WriteString(peer, "castor"))
			peer.CloseWrite()
			if b, err := io.ReadAll(c); string(b) != "castor" || err != nil {
				t.Errorf("%q, %v", b, err)
			}
			must(io.WriteString(c, "pollux"))
			c.Close()
			if b, err := io.ReadAll(peer); string(b) != "pollux" || err != nil {
				t.Errorf("%q, %v", b, err)
			}
		})
		halves(t, g, func(c *netconn.TLSConn, peer *tls.Conn, _ *netconn.Conn) {
			must(io.WriteString(c, "castor"))
			for range 2 {
				if err := c.CloseWrite(); err != nil {
					t.Error(err)
				}
			}
			_, err := c.Write([]byte("x"))
			checkOpError(t, err, "write", syscall.EPIPE)
			if b, err := io.ReadAll(peer); string(b) != "castor" || err != nil {
				t.Errorf("%q, %v", b, err)
			}
			if peer.ConnectionState().Version == tls.VersionTLS13 {
				must(io.WriteString(peer, "pollux"))
				expect(t, c, "pollux")
			}
		})
	})
}

// A reset of the peer is ECONNRESET, and SetLinger(0) resets.
func TestTLSReset(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		halves(t, g, func(c *netconn.TLSConn, _ *tls.Conn, below *netconn.Conn) {
			reading := start(func() (int, error) { return c.Read(make([]byte, 1)) })
			below.SetLinger(0)
			below.Close()
			if r := <-reading; r.n != 0 || !isReset(r.err) && !(hidesResets(g) && errors.Is(r.err, tlsconn.ErrTruncated)) {
				t.Errorf("%d, %v, want a reset", r.n, r.err)
			}
		})
		halves(t, g, func(c *netconn.TLSConn, peer *tls.Conn, _ *netconn.Conn) {
			c.SetLinger(0)
			c.Close()
			if _, err := peer.Read(make([]byte, 1)); !isReset(err) && !(hidesResets(g) && errors.Is(err, io.ErrUnexpectedEOF)) {
				t.Errorf("%v, want a reset", err)
			}
		})
	})
}

// What is no TLS ends the connection with an error that is no end of the stream, and the peer gets an alert.
func TestGarbage(t *testing.T) {
	everywhere(t, func(t *testing.T, g *loop.Group) {
		halves(t, g, func(c *netconn.TLSConn, peer *tls.Conn, below *netconn.Conn) {
			must(io.WriteString(below, strings.Repeat("pollux", 100)))
			_, err := c.Read(make([]byte, 1))
			if checkOpError(t, err, "read", err); err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v, want an error of crypto/tls", err)
			}
			_, err = peer.Read(make([]byte, 1))
			if op := (*net.OpError)(nil); !errors.As(err, &op) || op.Op != "remote error" {
				t.Errorf("the peer has got %v, want an alert", err)
			}
		})
	})
}

// Deadlines do not break the stream: after a Write that ends at its deadline has written n bytes, the peer gets these and then
// what later calls write; and a Read that ends at its deadline loses nothing.
func TestTLSDeadlines(t *testing.T) {
	server, client := tlstest.Configs(tls.VersionTLS13)
	everywhere(t, func(t *testing.T, g *loop.Group) {
		c, peer := pairTLS(t, g, "tcp", server, client)
		total := fill(t, c)
		c.SetWriteDeadline(time.Time{})
		last := start(func() (int, error) {
			n, err := io.WriteString(c, "castor")
			c.CloseWrite()
			return n, err
		})
		discard(t, peer, total)
		if b, err := io.ReadAll(peer); string(b) != "castor" || err != nil {
			t.Errorf("%q, %v after %d bytes, want castor", b, err, total)
		}
		if r := <-last; r.n != 6 || r.err != nil {
			t.Errorf("%d, %v", r.n, r.err)
		}
		for range 3 {
			must(io.WriteString(peer, "pollux"))
			if !testkit.Eventually(func() bool { return netconn.Unread(c.Conn) == len("pollux") }) {
				t.Fatalf("%d bytes are unread", netconn.Unread(c.Conn))
			}
			c.SetReadDeadline(past)
			_, err := c.Read(make([]byte, 1))
			checkOpError(t, err, "read", os.ErrDeadlineExceeded)
			c.SetReadDeadline(time.Time{})
			expect(t, c, "pollux")
		}
	})
}

// Random programs get the results of package net with TLS on both ends, too.
func TestTLSModel(t *testing.T) {
	programs := 40
	if testkit.Long() {
		programs = 500
	}
	drawn, want := make([][]action, programs), make([][]string, programs)
	for i := range drawn {
		drawn[i] = drawProgram(uint64(i))
		want[i] = runOnNet(t, drawn[i])
	}
	versions(t, func(t *testing.T, server, client *tls.Config) {
		everywhere(t, func(t *testing.T, g *loop.Group) {
			for i, program := range drawn {
				d, a := pairTLS(t, g, "tcp", server, client)
				got := run(program, [2]end{d, a})
				d.Close()
				a.Close()
				if !slices.Equal(got, want[i]) {
					t.Fatalf("seed %d:\ngot\n%s\nwant\n%s", i, strings.Join(got, "\n"), strings.Join(want[i], "\n"))
				}
			}
		})
	})
}
