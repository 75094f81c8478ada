package loop

import (
	"net"

	"github.com/pollux-io/pollux/internal/driver"
)

// ServeAcceptor is Serve for any listening socket, such as one that fails.
func (g *Group) ServeAcceptor(addr net.Addr, a driver.Acceptor, accept func(*Conn) Handler) (*Listener, error) {
	return g.serve(addr, []driver.Acceptor{a}, false, accept)
}

// Open and Ended count a connection in, unless there are MaxConns, and out.
func (g *Group) Open() bool { return g.mayOpen() }

func (g *Group) Ended() { g.connEnded() }
