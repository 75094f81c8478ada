package main

import (
	"errors"
	"time"

	"github.com/pollux-io/pollux/examples/websocket/internal/websocket"
	"github.com/pollux-io/pollux/loop"
)

// session is one WebSocket. Only its own callbacks and its timer, which run on one loop, use it.
type session struct {
	*server
	in   websocket.Reader
	name string // of the room; "": echo
	room *room  // nil: not a member, or not any more

	closing bool // a Close frame is sent: nothing may follow it
	code    websocket.CloseCode

	keepalive

	// For send, so that it does not allocate.
	header [websocket.MaxHeaderBytes]byte
	parts  [2][]byte
}

func newSession(s *server, room string) *session {
	limit := s.maxMessageBytes
	if room == "" {
		limit = s.maxEchoBytes
	}
	return &session{server: s, name: room, in: websocket.Reader{MaxMessageBytes: limit}, code: websocket.AbnormalClosure}
}

// open is called when the handshake is done.
func (s *session) open(c *loop.Conn) {
	s.stats.opened.Add(1)
	if s.name != "" {
		s.hub.join(c, s)
	}
	s.watch(c)
}

// Data handles the messages in b. The Reader keeps a part of a message, and leaves at most a part
// of a header or of a control frame.
func (s *session) Data(c *loop.Conn, b []byte) (consumed int, err error) {
	s.heard = true
	for {
		m, n, err := s.in.Next(b[consumed:])
		consumed += n
		if err == nil {
			switch m.Opcode {
			case websocket.Continuation: // there is no more
				return consumed, nil
			case websocket.Close:
				return consumed, s.peerClosed(c, m)
			}
			err = s.message(c, m)
		}
		if err != nil {
			return consumed, s.fail(c, err)
		}
	}
}

// message handles a message or a ping. An error closes the connection.
func (s *session) message(c *loop.Conn, m websocket.Message) error {
	switch {
	case s.closing, m.Opcode == websocket.Pong: // heard is set
		return nil
	case m.Opcode == websocket.Ping:
		return s.send(c, websocket.Pong, m.Payload)
	}
	s.stats.messages.Add(1)
	if s.room == nil {
		return s.send(c, m.Opcode, m.Payload)
	}
	return s.room.broadcast(m)
}

// send sends one frame to this client.
func (s *session) send(c *loop.Conn, o websocket.Opcode, payload []byte) error {
	s.parts = [2][]byte{websocket.AppendHeader(s.header[:0], o, len(payload)), payload}
	_, err := c.Writev(s.parts[:])
	s.parts = [2][]byte{}
	return err
}

// sendClose sends the Close frame, unless it is sent already. After it nothing may be sent.
func (s *session) sendClose(c *loop.Conn, code websocket.CloseCode, reason string) {
	if s.closing {
		return
	}
	s.hub.leave(c, s) // from now on, no message of the room is written
	s.closing, s.code = true, code
	s.send(c, websocket.Close, websocket.AppendClosePayload(nil, code, reason))
}

// peerClosed ends the connection after the client's Close frame. The server ends the TCP connection
// first (RFC 6455, 7.1.1).
func (s *session) peerClosed(c *loop.Conn, m websocket.Message) error {
	s.sendClose(c, m.Code, "")
	return c.Close()
}

// fail sends a Close frame with the reason of an error, and returns the error, with which the caller
// closes the connection: it does not wait for the client's Close frame (RFC 6455, 7.1.7).
func (s *session) fail(c *loop.Conn, err error) error {
	code, reason := websocket.InternalError, "internal error"
	if e := (*websocket.Error)(nil); errors.As(err, &e) {
		code, reason = e.Code, e.Reason
	}
	s.sendClose(c, code, reason)
	return err
}

// Shutdown is called when the server shuts down: the client gets a Close frame, and has a while to
// answer it.
func (s *session) Shutdown(c *loop.Conn) {
	s.sendClose(c, websocket.GoingAway, "the server shuts down")
	c.SetReadDeadline(time.Now().Add(s.closeTimeout))
}

// Closed is called last, whatever the reason.
func (s *session) Closed(c *loop.Conn, _ error) {
	s.unwatch()
	s.hub.leave(c, s)
	s.stats.ended(s.code)
}
