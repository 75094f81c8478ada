package wire

import (
	"errors"
	"io"
	"net/netip"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/sock"
)

// turnBytes is the budget of one call: how much it may read in a turn of the loop.
const turnBytes = 256 << 10

// A Handler is notified of the events of a Call. It is called on the loop and must not block.
type Handler interface {
	// Connected: the connection is open, and the request will be sent.
	Connected()
	// Space returns how many bytes Received accepts next. Zero stops the
	// reading, and so in the end the peer, until Call.Resume.
	Space() int
	// Received gets at most Space bytes. The memory belongs to the loop: copy them.
	Received(b []byte)
	// Ended is the last callback: err is io.EOF when the peer has closed or half-closed, or
	// the error of connecting, sending or receiving. It is not called after Call.Close.
	Ended(err error)
}

// A Call is one connection, its request and its answer. It is edge-triggered: after every
// event it continues until ErrWouldBlock.
type Call struct {
	loop    *Loop
	stream  *sock.TCPStream
	token   pollux.Token
	handler Handler

	unsent    []byte
	connected bool
	waiting   bool // for space in the handler
	posted    bool // continueLater has posted a function that has not run
	closed    bool
}

// Call begins to connect to addr, and will send request there. The error is that of
// sock.ConnectTCP or of Register; then the handler is not called.
func (l *Loop) Call(addr netip.AddrPort, request []byte, h Handler) (*Call, error) {
	stream, err := sock.ConnectTCP(addr)
	if err != nil {
		return nil, err
	}
	l.last++
	c := &Call{loop: l, stream: stream, token: l.last, handler: h, unsent: request}
	if err := l.q.Register(stream, c.token, pollux.Readable|pollux.Writable, pollux.Edge); err != nil {
		stream.Close()
		return nil, err
	}
	l.calls[c.token] = c
	return c, nil
}

// Token returns the token of the call's registration.
func (c *Call) Token() pollux.Token { return c.token }

// Waiting reports whether reading has stopped because Space returned 0.
func (c *Call) Waiting() bool { return c.waiting }

// Close ends the call immediately.
func (c *Call) Close() {
	if c.closed {
		return
	}
	c.closed = true
	delete(c.loop.calls, c.token)
	c.stream.Close()
}

// Resume continues reading after the handler has space again.
func (c *Call) Resume() {
	if !c.closed && c.connected {
		c.receive()
	}
}

func (c *Call) ready() {
	if !c.connected && !c.connect() {
		return
	}
	if c.send() {
		c.receive()
	}
}

func (c *Call) connect() bool {
	err := c.stream.ConnectError()
	if errors.Is(err, sock.ErrWouldBlock) {
		return false
	}
	if err != nil {
		c.end(err)
		return false
	}
	c.connected = true
	c.handler.Connected()
	return !c.closed
}

// send sends the rest of the request, and reports whether the call is still open. A server
// may answer and close before it has read everything, so a failure to send is reported only
// after the answer has been read.
func (c *Call) send() bool {
	if len(c.unsent) == 0 {
		return true
	}
	n, err := c.stream.Write(c.unsent)
	c.unsent = c.unsent[n:]
	if err == nil || errors.Is(err, sock.ErrWouldBlock) {
		return true
	}
	c.unsent = nil
	c.receive()
	if c.closed {
		return false
	}
	c.end(err)
	return false
}

func (c *Call) receive() {
	c.waiting = false
	for total := 0; !c.closed; {
		space := c.handler.Space()
		if space == 0 {
			c.waiting = true
			return
		}
		if total >= turnBytes {
			c.continueLater()
			return
		}
		b := c.loop.scratch[:min(space, len(c.loop.scratch))]
		n, err := c.stream.Read(b)
		if n > 0 {
			total += n
			c.handler.Received(b[:n])
			continue
		}
		if errors.Is(err, sock.ErrWouldBlock) {
			return
		}
		if err == nil {
			err = io.EOF
		}
		c.end(err)
	}
}

// continueLater posts Resume for the next turn: the kernel will not report the unread bytes
// again.
func (c *Call) continueLater() {
	if c.posted {
		return
	}
	c.posted = true
	c.loop.Post(func() {
		c.posted = false
		c.Resume()
	})
}

func (c *Call) end(err error) {
	if c.closed {
		return
	}
	c.Close()
	c.handler.Ended(err)
}
