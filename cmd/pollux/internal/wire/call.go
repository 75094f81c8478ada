package wire

import (
	"errors"
	"io"
	"net/netip"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/sock"
)

// turnBytes is how much one call may read before the others have their turn.
const turnBytes = 256 << 10

// A Handler learns how a Call goes. It is called on the loop and must not block.
type Handler interface {
	// Connected: the connection is open, and the request goes out.
	Connected()
	// Room says how many bytes Received may be given next. Zero stops the
	// reading, and so in the end the peer, until Call.Resume.
	Room() int
	// Received gets bytes, Room of them at most. They are the loop's: copy.
	Received(b []byte)
	// Ended is the last callback: io.EOF when the peer has sent all it will, or
	// why connecting, sending or receiving failed. After Call.Close it does not
	// come.
	Ended(err error)
}

// A Call is one connection, the request that goes out on it, and what comes back.
// It is edge-triggered: every event makes it go on until the kernel says
// ErrWouldBlock.
type Call struct {
	loop    *Loop
	stream  *sock.TCPStream
	token   pollux.Token
	handler Handler

	unsent    []byte
	connected bool
	waiting   bool // for room
	posted    bool // later is under way
	closed    bool
}

// Call begins to connect to addr, to send request there. The error is that of
// sock.ConnectTCP or of Register; the handler is then not called.
func (l *Loop) Call(addr netip.AddrPort, request []byte, h Handler) (*Call, error) {
	stream, err := sock.ConnectTCP(addr)
	if err != nil {
		return nil, err
	}
	l.last++
	c := &Call{loop: l, stream: stream, token: l.last, handler: h, unsent: request}
	if err := l.q.Registrator().Register(stream, c.token, pollux.Readable|pollux.Writable, pollux.Edge); err != nil {
		stream.Close()
		return nil, err
	}
	l.calls[c.token] = c
	return c, nil
}

// Token is the token of the call's registration.
func (c *Call) Token() pollux.Token { return c.token }

// Waiting reports whether the peer is kept waiting because there was no Room.
func (c *Call) Waiting() bool { return c.waiting }

// Close ends the call, now.
func (c *Call) Close() {
	if c.closed {
		return
	}
	c.closed = true
	delete(c.loop.calls, c.token)
	c.stream.Close()
}

// Resume goes on reading, now that there is room.
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

// send reports whether the call is still open. A server may answer, and hang up,
// before it has read everything, so a failure to send is told only when there is
// nothing to be read.
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
		room := c.handler.Room()
		if room == 0 {
			c.waiting = true
			return
		}
		if total >= turnBytes {
			c.later()
			return
		}
		b := c.loop.scratch[:min(room, len(c.loop.scratch))]
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

// later goes on in another turn: the kernel will not tell again of what is there.
func (c *Call) later() {
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
