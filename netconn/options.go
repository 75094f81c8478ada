package netconn

import (
	"net"
	"time"
)

// SetLinger sets what Close does with unsent bytes (SO_LINGER): with 0 it drops them and resets the connection;
// otherwise they are sent in the background, for the times of loop.Config.LingerTimeout and MaxLinger, whatever
// the number of seconds.
func (c *Conn) SetLinger(sec int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.errSet()
	}
	c.linger = sec
	return nil
}

// SetNoDelay switches Nagle's algorithm off (true, the default) or on. For a Unix socket the error is
// errors.ErrUnsupported.
func (c *Conn) SetNoDelay(on bool) error { return c.setError(c.raw.SetNoDelay(on)) }

// SetKeepAlive switches keep-alive probes on or off. The times are not changed by on, if they were set before.
func (c *Conn) SetKeepAlive(on bool) error {
	return c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: on, Idle: -1, Interval: -1, Count: -1})
}

// SetKeepAlivePeriod sets the time of silence before the first probe; zero means the default of package net, 15 s.
func (c *Conn) SetKeepAlivePeriod(d time.Duration) error {
	return c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: d, Interval: -1, Count: -1})
}

// SetKeepAliveConfig configures keep-alive probes, as loop.Conn.SetKeepAlive does, which has ranges and errors.
func (c *Conn) SetKeepAliveConfig(config net.KeepAliveConfig) error {
	return c.setError(c.raw.SetKeepAlive(config))
}

// SetReadBuffer sets the size of the kernel's receive buffer in bytes, as loop.Conn.SetReadBuffer does.
func (c *Conn) SetReadBuffer(bytes int) error { return c.setError(c.raw.SetReadBuffer(bytes)) }

// SetWriteBuffer sets the size of the kernel's send buffer in bytes, as loop.Conn.SetWriteBuffer does.
func (c *Conn) SetWriteBuffer(bytes int) error { return c.setError(c.raw.SetWriteBuffer(bytes)) }

// setError returns the error of an option as package net does.
func (c *Conn) setError(err error) error {
	if err == nil {
		return nil
	}
	return &net.OpError{Op: "set", Net: c.local.Network(), Addr: c.local, Err: causeOf(err)}
}
