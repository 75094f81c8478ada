package loop

import (
	"fmt"
	"net"
	"time"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/sock"
)

// Upper bounds on Linux (tcp(7)).
const (
	maxKeepAliveTime  = 32767 * time.Second
	maxKeepAliveCount = 127
)

// SetKeepAlive configures the kernel's keep-alive probes of a silent peer, as
// net.TCPConn.SetKeepAliveConfig does: off unless Enable is set, and otherwise, where a field is
// zero, 15 s of silence before the first probe, 15 s between probes, and the connection dropped
// after 9 of them; a negative field leaves the value in force. The default is Config.KeepAlive.
// The error is the system's for values out of its range (tcp(7): 32,767 s, 127 probes),
// ErrClosed, or errors.ErrUnsupported for a Unix socket. When keep-alive drops a connection,
// Closed gets ETIMEDOUT.
func (c *Conn) SetKeepAlive(k net.KeepAliveConfig) error {
	err := error(ErrClosed)
	if !c.ends() {
		err = c.stream.Internal().SetKeepAlive(k)
	}
	if err != nil {
		return c.opError("set keep-alive", err)
	}
	return nil
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
	switch {
	case !k.Enable && k.Idle >= 0 && k != (net.KeepAliveConfig{}):
		return fmt.Errorf("KeepAlive has times, but not Enable; set Enable, or {Idle: -1} for no probes")
	case k.Idle > maxKeepAliveTime || k.Interval > maxKeepAliveTime || k.Count > maxKeepAliveCount:
		return fmt.Errorf("KeepAlive is %+v; its times must be at most %v, and its Count at most %d", k, maxKeepAliveTime, maxKeepAliveCount)
	}
	return nil
}

// keepAliveServed sets keep-alive on a listening socket that was made elsewhere. One that has it
// on already keeps its own times.
func (g *Group) keepAliveServed(l *sock.TCPListener) {
	stream.EnableKeepAlive(l.PollHandle(), keepAliveOf(g.config.KeepAlive))
}

// keepAliveAccepted sets keep-alive on an accepted connection if it is not inherited.
func (c *Conn) keepAliveAccepted() {
	if !stream.KeepAliveIsInherited && c.stream.PollHandle().Kind() == handle.TCPStream {
		c.stream.Internal().SetKeepAlive(keepAliveOf(c.loop.g.config.KeepAlive))
	}
}

// keepAliveDialed sets keep-alive on a connection that is about to be dialed.
func (c *Conn) keepAliveDialed() error {
	return c.stream.Internal().SetKeepAlive(keepAliveOf(c.loop.g.config.KeepAlive))
}
