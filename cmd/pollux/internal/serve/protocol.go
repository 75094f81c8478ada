package serve

import (
	"slices"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// A protocol is what a server does with a connection, and with a datagram.
type protocol struct {
	conn func(*loop.Conn) loop.Handler
	// answer returns what goes back for a datagram, nil for nothing; it is part of b or
	// lasts for ever.
	answer func(b []byte) []byte
}

// highWatermark is how much waits to be sent before a connection is not read from
// any more (L4), and at which chargen pauses.
const highWatermark = 256 << 10

var protocols = map[string]protocol{
	"echo": {
		conn:   func(*loop.Conn) loop.Handler { return echo{} },
		answer: func(b []byte) []byte { return b },
	},
	"discard": {
		conn:   func(*loop.Conn) loop.Handler { return discard{} },
		answer: func([]byte) []byte { return nil },
	},
	// RFC 864 answers a datagram by up to 512 characters. By as many as have come, nobody
	// can use the server to amplify a flood.
	"chargen": {
		conn:   func(*loop.Conn) loop.Handler { return chargen{} },
		answer: func(b []byte) []byte { return pattern[:len(b)] },
	},
}

// echo sends back what comes (RFC 862). Back-pressure is the connection's own: while
// too much waits to be sent, nothing is read.
type echo struct{}

func (echo) Data(c *loop.Conn, b []byte) (int, error) { return c.Write(b) }

// Shutdown implements loop.ShutdownHandler.
func (echo) Shutdown(c *loop.Conn) { drain(c, true) }

// discard drops what comes (RFC 863).
type discard struct{}

func (discard) Data(_ *loop.Conn, b []byte) (int, error) { return len(b), nil }

// Shutdown implements loop.ShutdownHandler.
func (discard) Shutdown(c *loop.Conn) { drain(c, false) }

// chargen sends printable characters without end (RFC 864): up to the watermark, and
// on when that has drained. A peer that has sent all it will still gets them.
type chargen struct{}

func (chargen) Opened(c *loop.Conn)                      { generate(c) }
func (chargen) Drained(c *loop.Conn)                     { generate(c) }
func (chargen) Data(_ *loop.Conn, b []byte) (int, error) { return len(b), nil }
func (chargen) ReadClosed(*loop.Conn)                    {}

// Shutdown implements loop.ShutdownHandler. What was written goes out, then FIN.
func (chargen) Shutdown(c *loop.Conn) { c.Close() }

// generate fills the connection. Without a copy: the pattern never changes. Its
// length is a whole number of periods, so pieces follow each other without a seam.
func generate(c *loop.Conn) {
	for c.Unsent() <= highWatermark {
		if _, err := c.WriteOwned(pattern, sent); err != nil {
			return // closed; Closed's business, if anybody's
		}
	}
}

func sent(error) {}

const (
	firstPrintable = int(' ')
	printables     = int('~') - firstPrintable + 1
	lineLength     = 72
	periods        = 10
)

// pattern is chargen's text: lines of 72 characters out of the 95 printable ones,
// each line beginning with the next; after 95 lines it repeats. It is longer than
// any datagram.
var pattern = slices.Repeat(period(), periods)

func period() []byte {
	b := make([]byte, 0, printables*(lineLength+2))
	for line := range printables {
		for i := range lineLength {
			b = append(b, byte(firstPrintable+(line+i)%printables))
		}
		b = append(b, '\r', '\n')
	}
	return b
}

// drainPause: a connection on which nothing came for so long while the server shuts
// down, and to which nothing is left to be sent, is closed.
const drainPause = 500 * time.Millisecond

// draining is the handler of a connection while the server shuts down.
type draining struct {
	echo    bool
	touched bool // something has come since the last look
}

// drain lets the peer finish what it is at: clients of these protocols do not say
// when they have.
func drain(c *loop.Conn, echo bool) {
	d := &draining{echo: echo}
	c.SetHandler(d)
	c.Loop().AfterFunc(drainPause, func() { d.look(c) })
}

func (d *draining) look(c *loop.Conn) {
	if !d.touched && c.Unsent() == 0 {
		c.Close()
		return
	}
	d.touched = false
	if c.LocalAddr() != nil { // still open
		c.Loop().AfterFunc(drainPause, func() { d.look(c) })
	}
}

// Data implements loop.Handler.
func (d *draining) Data(c *loop.Conn, b []byte) (int, error) {
	d.touched = true
	if d.echo {
		return c.Write(b)
	}
	return len(b), nil
}

// packets answers datagrams, in batches as they come.
type packets struct {
	answer func([]byte) []byte
	tally  *tally
	out    []sock.Message // scratch
}

func (s *Server) packetHandler(*loop.PacketConn) loop.PacketHandler {
	return &packets{answer: s.protocol.answer, tally: s.tally}
}

// Packets implements loop.PacketHandler. An answer for which the kernel has no room is
// dropped, as the network might; so is one that it refuses.
func (h *packets) Packets(p *loop.PacketConn, ms []sock.Message) {
	out := h.out[:0]
	for i := range ms {
		if b := h.answer(ms[i].Data[:ms[i].N]); b != nil {
			out = append(out, sock.Message{Data: b, Addr: ms[i].Addr})
		}
	}
	h.out = out
	for len(out) > 0 {
		n, err := p.WriteBatch(out)
		out = out[n:]
		switch {
		case err == nil:
		case err == sock.ErrWouldBlock:
			h.tally.packetsDropped.Add(uint64(len(out)))
			return
		case len(out) > 0:
			h.tally.packetsDropped.Add(1)
			out = out[1:]
		}
	}
}
