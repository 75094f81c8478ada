package parkhttp

import (
	"net"
	"os"
	"sync"
	"time"

	"github.com/pollux-io/pollux/netconn"
)

// A scriptListener accepts the connections of a channel.
type scriptListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

var _ net.Listener = (*scriptListener)(nil)

func (l *scriptListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *scriptListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *scriptListener) Addr() net.Addr { return scriptAddr{} }

// A scriptConn returns the chunks of a script, and records the calls in its trace.
type scriptConn struct{ t *trace }

var _ net.Conn = (*scriptConn)(nil)

// Read returns the next chunk. After the last one a Read of one byte, which net/http makes in the background, waits for its
// deadline; any other Read is that of an idle connection, and ends as if it was parked.
func (c *scriptConn) Read(b []byte) (int, error) {
	t := c.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last = len(b); t.first == 0 {
		t.first = len(b)
	}
	if len(t.chunks) > 0 && len(b) > 0 {
		n := copy(b, t.chunks[0])
		if t.chunks[0] = t.chunks[0][n:]; t.chunks[0] == "" {
			t.chunks = t.chunks[1:]
		}
		return n, nil
	}
	if len(b) != 1 {
		t.addLocked("last read")
		return 0, &net.OpError{Op: "read", Net: "script", Err: netconn.ErrParked}
	}
	for !t.expired && !t.over {
		t.cond.Wait()
	}
	if t.over {
		return 0, net.ErrClosed
	}
	return 0, os.ErrDeadlineExceeded
}

func (c *scriptConn) Write(b []byte) (int, error) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	return c.t.written.Write(b)
}

func (c *scriptConn) Close() error {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	c.t.addLocked("close")
	c.t.over = true
	c.t.cond.Broadcast()
	return nil
}

func (c *scriptConn) LocalAddr() net.Addr  { return scriptAddr{} }
func (c *scriptConn) RemoteAddr() net.Addr { return scriptAddr{} }

func (c *scriptConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline records the call if it comes after StateIdle.
func (c *scriptConn) SetReadDeadline(at time.Time) error {
	t := c.t
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expired = !at.IsZero() && !at.After(time.Now())
	t.cond.Broadcast()
	if n := len(t.calls); n > 0 && (t.calls[n-1] == "idle" || t.calls[n-1] == "deadline") {
		t.addLocked("deadline")
	}
	return nil
}

func (c *scriptConn) SetWriteDeadline(time.Time) error { return nil }

type scriptAddr struct{}

func (scriptAddr) Network() string { return "script" }
func (scriptAddr) String() string  { return "script" }
