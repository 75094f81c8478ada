package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/pollux-io/pollux/examples/websocket/internal/websocket"
	"github.com/pollux-io/pollux/loop"
)

// client is one connection. Except for conn, which does not change after the client is open, only
// its loop uses it.
type client struct {
	*run
	conn *loop.Conn
	in   websocket.Reader
	key  [16]byte
	open bool
	next uint64              // the number of the message that must come next
	got  websocket.CloseCode // that of the server's Close frame; 0: none has arrived
}

func newClient(r *run) *client {
	c := &client{run: r, in: websocket.Reader{MaxMessageBytes: maxBytes, FromServer: true}}
	binary.NativeEndian.PutUint64(c.key[:], rand.Uint64())
	binary.NativeEndian.PutUint64(c.key[8:], rand.Uint64())
	return c
}

func (c *client) Opened(conn *loop.Conn) {
	c.conn = conn
	conn.Write(websocket.AppendRequest(nil, c.addr, room, c.key))
}

func (c *client) Data(conn *loop.Conn, b []byte) (consumed int, err error) {
	if !c.open {
		n, err := websocket.ParseResponse(b, c.key)
		if n == 0 || err != nil {
			return 0, err
		}
		consumed, c.open = n, true
		if c.run.open.Add(1) == int64(len(c.clients)) {
			close(c.allOpen)
		}
	}
	for {
		m, n, err := c.in.Next(b[consumed:])
		consumed += n
		if err == nil && m.Opcode == websocket.Continuation {
			return consumed, nil
		}
		if err == nil {
			err = c.message(m)
		}
		if err != nil {
			return consumed, err
		}
	}
}

func (c *client) message(m websocket.Message) error {
	switch m.Opcode {
	case websocket.Binary:
		return c.broadcast(m.Payload)
	case websocket.Ping:
		c.write(websocket.Pong, m.Payload)
	case websocket.Close: // the server closes the connection when it has the answer
		c.got = m.Code
		if want := c.ending.Load(); want == nil || *want != c.got {
			return fmt.Errorf("the server closes the WebSocket with %d: %.130q", c.got, m.Payload)
		}
		c.goodbyes.Add(1)
		c.write(websocket.Close, m.Payload)
	}
	return nil
}

// broadcast checks a message, and records its latency.
func (c *client) broadcast(b []byte) error {
	if len(b) != c.bytes {
		return fmt.Errorf("a message has %d bytes, want %d", len(b), c.bytes)
	}
	if n := binary.BigEndian.Uint64(b); n != c.next {
		return fmt.Errorf("message %d has arrived, want %d", n, c.next)
	}
	c.next++
	c.latencies[c.conn.Loop().Index()].record(time.Since(c.began) - time.Duration(binary.BigEndian.Uint64(b[8:])))
	c.run.got()
	return nil
}

// write may be called from any goroutine.
func (c *client) write(o websocket.Opcode, payload []byte) {
	var mask [4]byte
	binary.NativeEndian.PutUint32(mask[:], rand.Uint32())
	if _, err := c.conn.Write(websocket.AppendMasked(nil, o, payload, mask)); err != nil && c.ending.Load() == nil {
		c.fail(err)
	}
}

func (c *client) send(payload []byte) { c.write(websocket.Binary, payload) }

func (c *client) close(code websocket.CloseCode) {
	c.write(websocket.Close, websocket.AppendClosePayload(nil, code, ""))
}

func (c *client) Closed(_ *loop.Conn, why error) {
	if c.got == 0 || !errors.Is(why, io.EOF) {
		c.fail(fmt.Errorf("a connection has ended before its Close frame, or otherwise than by FIN: %w", why))
	}
	if c.gone.Add(1) == int64(len(c.clients)) {
		close(c.allGone)
	}
}
