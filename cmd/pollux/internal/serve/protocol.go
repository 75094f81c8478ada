package serve

import (
	"slices"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// A protocol has the handlers for connections and for datagrams.
type protocol struct {
	conn func(*loop.Conn) loop.Handler
	// answer returns the answer to a datagram, or nil for none; it is part of b or
	// never changes.
	answer func(b []byte) []byte
}

// highWatermark, in unsent bytes: above it, a connection is not read from (L4), and chargen
// pauses.
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
	// RFC 864 answers a datagram with up to 512 characters. An answer as long as the datagram
	// prevents that the server is used to amplify a flood.
	"chargen": {
		conn:   func(*loop.Conn) loop.Handler { return chargen{} },
		answer: func(b []byte) []byte { return pattern[:len(b)] },
	},
}

// echo sends back the bytes it receives (RFC 862). Back-pressure is that of the connection:
// while too much is unsent, nothing is read.
type echo struct{}

func (echo) Data(c *loop.Conn, b []byte) (int, error) { return c.Write(b) }

// Shutdown implements loop.ShutdownHandler.
func (echo) Shutdown(c *loop.Conn) { drain(c, true) }

// discard drops the bytes it receives (RFC 863).
type discard struct{}

func (discard) Data(_ *loop.Conn, b []byte) (int, error) { return len(b), nil }

// Shutdown implements loop.ShutdownHandler.
func (discard) Shutdown(c *loop.Conn) { drain(c, false) }

// chargen sends endless printable characters (RFC 864): up to the watermark, and
// more when Drained is called. It continues after the peer's half-close.
type chargen struct{}

func (chargen) Opened(c *loop.Conn)                      { generate(c) }
func (chargen) Drained(c *loop.Conn)                     { generate(c) }
func (chargen) Data(_ *loop.Conn, b []byte) (int, error) { return len(b), nil }
func (chargen) ReadClosed(*loop.Conn)                    {}

// Shutdown implements loop.ShutdownHandler. Unsent bytes are sent, then FIN.
func (chargen) Shutdown(c *loop.Conn) { c.Close() }

// generate writes up to the watermark, without a copy: the pattern never changes. Its
// length is a whole number of periods, so the text continues from one write to the next.
func generate(c *loop.Conn) {
	for c.Unsent() <= highWatermark {
		if _, err := c.WriteOwned(pattern, sent); err != nil {
			return // the connection is closed
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

// drainPause: while the server shuts down, a connection that has no unsent bytes and has
// received nothing for this time is closed.
const drainPause = 500 * time.Millisecond

// draining is the handler of a connection while the server shuts down.
type draining struct {
	echo   bool
	active bool // bytes were received since the last check
}

// drain lets the peer finish: these protocols have no message for that, so the connection is
// closed when it is idle.
func drain(c *loop.Conn, echo bool) {
	d := &draining{echo: echo}
	c.SetHandler(d)
	c.Loop().AfterFunc(drainPause, func() { d.check(c) })
}

func (d *draining) check(c *loop.Conn) {
	if !d.active && c.Unsent() == 0 {
		c.Close()
		return
	}
	d.active = false
	if c.LocalAddr() != nil { // still open
		c.Loop().AfterFunc(drainPause, func() { d.check(c) })
	}
}

// Data implements loop.Handler.
func (d *draining) Data(c *loop.Conn, b []byte) (int, error) {
	d.active = true
	if d.echo {
		return c.Write(b)
	}
	return len(b), nil
}

// packets answers datagrams in the batches in which they are received.
type packets struct {
	answer func([]byte) []byte
	tally  *tally
	out    []sock.Message // scratch
}

func (s *Server) packetHandler(*loop.PacketConn) loop.PacketHandler {
	return &packets{answer: s.protocol.answer, tally: s.tally}
}

// Packets implements loop.PacketHandler. An answer that would block is dropped, as the network
// might; so is one that the kernel refuses.
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
