package looptest

import (
	"net/netip"
	"testing"

	"github.com/pollux-io/pollux/loop"
)

// Pipe is New(t, Config{}).Pipe(loop.Config{}, accept): a handler gets its connection without further
// set-up.
func Pipe(t testing.TB, accept func(*loop.Conn) loop.Handler) (peer *Conn) {
	t.Helper()
	return New(t, Config{}).Pipe(loop.Config{}, accept)
}

// Pipe returns the peer of a connection that a loop serves with the handler that accept returns. It makes
// two hosts and a group of one loop on the first, which accepts the connection. The connection begins
// without faults, and its link is that of Config from then on. Before Pipe returns,
// accept has been called, and the handler's Opened. After the test the peer is closed, and the group
// is shut down.
//
// If the connection cannot be made, such as because of a rule, the test fails at once: like t.Fatal, Pipe
// is for the goroutine of the test. It panics if accept is nil.
func (n *Network) Pipe(config loop.Config, accept func(*loop.Conn) loop.Handler) (peer *Conn) {
	n.t.Helper()
	if accept == nil {
		panic("looptest: Pipe called with a nil function")
	}
	if config.Loops == 0 {
		config.Loops = 1
	}
	server, client := n.Host(), n.Host()
	g := server.NewGroup(config)
	n.SetLink(server, client, Link{})
	faults := n.replaceFaults(Faults{})
	accepted := make(chan *loop.Loop, 1)
	ln, err := g.Listen("tcp", netip.AddrPortFrom(server.Addr(), pipePort).String(), func(c *loop.Conn) loop.Handler {
		defer func() { accepted <- c.Loop() }() // also if accept panics
		return accept(c)
	})
	if err != nil {
		n.t.Fatal(err)
	}
	peer, err = client.Dial("tcp", ln.Addr().String())
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		n.testEnded()
		peer.Close()
	})
	opened := make(chan struct{})
	if err := (<-accepted).Run(func() { close(opened) }); err == nil {
		<-opened
	}
	ln.Close()
	n.replaceFaults(faults)
	n.SetLink(server, client, n.link)
	return peer
}

// pipePort is the port of the loop's end of a Pipe.
const pipePort = 1
