package netconn_test

import (
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
	"github.com/pollux-io/pollux/sock"
)

// Serve and ServeUnix accept from a socket that was made elsewhere, and close it.
func TestServe(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		tcp := must(sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0")))
		listeners := []net.Listener{must(netconn.Serve(g, tcp))}
		if hasUnix(g) {
			unix := must(sock.ListenUnix(filepath.Join(testkit.TempDir(t), "s")))
			listeners = append(listeners, must(netconn.ServeUnix(g, unix)))
		} else {
			t.Log("unix: " + noUnixOnWine)
		}
		for _, ln := range listeners {
			network, at := ln.Addr().Network(), ln.Addr().String()
			dialed := must(net.Dial(network, at))
			accepted := must(ln.Accept())
			dialed.Write([]byte("castor"))
			b := make([]byte, 6)
			if _, err := io.ReadFull(accepted, b); err != nil || string(b) != "castor" || accepted.LocalAddr().String() != at {
				t.Errorf("%s: read %q, %v at %v, want castor at %s", network, b, err, accepted.LocalAddr(), at)
			}
			dialed.Close()
			accepted.Close()
			if err := ln.Close(); err != nil {
				t.Error(err)
			}
			if refused := func() bool { // the loop closes the socket soon after Close
				c, err := net.Dial(network, at)
				if err == nil {
					c.Close()
				}
				return err != nil
			}; !testkit.Eventually(refused) {
				t.Errorf("%s: the socket is still open", network)
			}
		}
	})
}

// The socket is closed if Serve fails.
func TestServeFailsAndCloses(t *testing.T) {
	testkit.CheckLeaks(t)
	tcp := must(sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0")))
	if ln, err := netconn.Serve(nil, tcp); ln != nil || err == nil {
		t.Errorf("without a group: %v, %v", ln, err)
	}
	g := newGroup(t, loop.Config{Loops: 1})
	if hasUnix(g) {
		unix := must(sock.ListenUnix(filepath.Join(testkit.TempDir(t), "s")))
		if ln, err := netconn.ServeUnix(nil, unix); ln != nil || err == nil {
			t.Errorf("without a group: %v, %v", ln, err)
		}
	}
	if ln, err := netconn.Serve(g, nil); ln != nil || err == nil {
		t.Errorf("without a socket: %v, %v", ln, err)
	}
	if ln, err := netconn.ServeUnix(g, nil); ln != nil || err == nil {
		t.Errorf("without a socket: %v, %v", ln, err)
	}
}
