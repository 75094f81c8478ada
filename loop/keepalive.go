package loop

import (
	"fmt"
	"net"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/sock"
)

// SetKeepAlive configures the kernel's keep-alive probes of a silent peer, as
// net.TCPConn.SetKeepAliveConfig does: off unless Enable is set, and otherwise, where a field is
// zero, 15 s of silence before the first probe, 15 s between probes, and the connection dropped
// after 9 of them; a negative field leaves the value in force. The default is Config.KeepAlive.
// Times of more than 32,767 s and a Count of more than 127, the limits of Linux, are ErrBadArgument.
// Other errors are ErrClosed, and errors.ErrUnsupported for a Unix socket. When keep-alive drops a
// connection, Closed gets ETIMEDOUT.
func (c *Conn) SetKeepAlive(k net.KeepAliveConfig) error {
	return c.setOption("set keep-alive", true, sock.KeepAlive(k))
}

// keepAliveOf applies the default of Config.KeepAlive: the zero value is on, with the defaults.
func keepAliveOf(k net.KeepAliveConfig) net.KeepAliveConfig {
	if k == (net.KeepAliveConfig{}) {
		k.Enable = true
	}
	return k
}

// checkKeepAlive returns an error if Config.KeepAlive is invalid.
func checkKeepAlive(k net.KeepAliveConfig) error {
	if !k.Enable && k.Idle >= 0 && k != (net.KeepAliveConfig{}) {
		return fmt.Errorf("%w: KeepAlive has times, but not Enable; set Enable, or {Idle: -1} for no probes", ErrBadArgument)
	}
	return stream.CheckKeepAlive(k)
}

// keepAliveServed sets keep-alive on a listening socket that was made elsewhere. One that has it
// on already keeps its own times. It ignores errors: if the system refuses a value, the listener
// keeps its own.
func (g *Group) keepAliveServed(l *sock.TCPListener) {
	if !stream.PassesOnKeepAlive(handle.Of(l), stream.AcceptOptionsOf(l)) {
		l.SetOptions(sock.KeepAlive(keepAliveOf(g.config.KeepAlive)))
	}
}
