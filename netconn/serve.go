package netconn

import (
	"net"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// Serve is Listen for a listening socket that was made elsewhere, such as an inherited one (sock.FromTCPListener). The group
// owns it from now on, even if Serve fails. Options and errors are those of loop.Group.Serve.
func Serve(g *loop.Group, s *sock.TCPListener, options ...sock.Option) (net.Listener, error) {
	return (&ListenConfig{Group: g, Options: options}).Serve(s)
}

// ServeUnix is Serve for a listening Unix socket, with the options and errors of loop.Group.ServeUnix.
func ServeUnix(g *loop.Group, s *sock.UnixListener, options ...sock.Option) (net.Listener, error) {
	return (&ListenConfig{Group: g, Options: options}).ServeUnix(s)
}
