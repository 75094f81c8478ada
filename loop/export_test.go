package loop

import (
	"net"

	"github.com/pollux-io/pollux/internal/driver"
)

// ServeAcceptor is Serve for any listening socket, such as one that fails.
func (g *Group) ServeAcceptor(addr net.Addr, a driver.Acceptor, accept func(*Conn) Handler) (*Listener, error) {
	return g.serve(addr, []driver.Acceptor{a}, false, accept)
}
