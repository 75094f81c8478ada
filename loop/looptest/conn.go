package looptest

import (
	"net"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/simnet"
)

// A Conn is a TCP connection, or one between Unix sockets, that a test uses as it does a *net.TCPConn.
// Its methods may be called from any goroutine. Errors are *net.OpError, and wrap net.ErrClosed,
// os.ErrDeadlineExceeded, io.EOF (unwrapped) and system errors such as syscall.ECONNRESET as those of
// package net do.
//
// loop.Group.Attach takes a Conn as it does a *net.TCPConn.
type Conn struct{ c *simnet.Conn }

var (
	_ net.Conn     = (*Conn)(nil)
	_ syscall.Conn = (*Conn)(nil)
)

// Read reads into b what has arrived, and waits for the first byte.
func (c *Conn) Read(b []byte) (int, error) { return c.c.Read(b) }

// Write writes all of b. It waits while the socket's buffers are full.
func (c *Conn) Write(b []byte) (int, error) { return c.c.Write(b) }

// Close closes the connection. The peer gets the bytes that are on their way, and then the end of the
// stream: a reset instead, if received bytes are unread.
func (c *Conn) Close() error { return c.c.Close() }

// Abort resets a TCP connection, and closes it: the peer gets ECONNRESET. A connection between Unix
// sockets is closed.
func (c *Conn) Abort() error {
	c.c.SetLinger(0) // fails on a closed connection, and then so does Close
	return c.c.Close()
}

// CloseWrite half-closes the connection: the peer reads the end of the stream, and may go on writing.
func (c *Conn) CloseWrite() error { return c.c.CloseWrite() }

// CloseRead ends reading: Read returns io.EOF.
func (c *Conn) CloseRead() error { return c.c.CloseRead() }

// Unread returns how many bytes Read would return without waiting. It is 0 if the connection is closed.
func (c *Conn) Unread() int { return c.c.Unread() }

// LocalAddr returns the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.c.LocalAddr() }

// RemoteAddr returns the address of the peer.
func (c *Conn) RemoteAddr() net.Addr { return c.c.RemoteAddr() }

// SetDeadline sets the deadlines of Read and Write, on the network's clock; the zero Time means none.
func (c *Conn) SetDeadline(t time.Time) error { return c.c.SetDeadline(t) }

// SetReadDeadline sets the deadline of Read.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.c.SetReadDeadline(t) }

// SetWriteDeadline sets the deadline of Write.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.c.SetWriteDeadline(t) }

// SetReadBuffer sets how many bytes the socket receives before they are read (SO_RCVBUF). A small number
// makes a slow reader's peer notice soon.
func (c *Conn) SetReadBuffer(bytes int) error { return c.c.SetReadBuffer(bytes) }

// SetWriteBuffer sets how many bytes the socket takes before the peer has received them (SO_SNDBUF).
func (c *Conn) SetWriteBuffer(bytes int) error { return c.c.SetWriteBuffer(bytes) }

// SetLinger is as of a *net.TCPConn (SO_LINGER): with 0, Close resets the connection.
func (c *Conn) SetLinger(seconds int) error { return c.c.SetLinger(seconds) }

// SetNoDelay is as of a *net.TCPConn (TCP_NODELAY). It has no effect: nothing is delayed.
func (c *Conn) SetNoDelay(on bool) error { return c.c.SetNoDelay(on) }

// SetKeepAliveConfig sets the probes that find a peer that is gone.
func (c *Conn) SetKeepAliveConfig(config net.KeepAliveConfig) error {
	return c.c.SetKeepAliveConfig(config)
}

// SyscallConn gives access to the descriptor, which only package sock can use.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.c.SyscallConn() }
