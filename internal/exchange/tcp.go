package exchange

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/loop"
)

// Limits of the TCP connections.
const (
	// streamQueries is how many queries may wait for responses on one connection; more open another.
	streamQueries = 128
	// streamIdle is how long a connection without queries stays open (RFC 7766, section 6.2.3).
	streamIdle = 5 * time.Second
	// maxStrays is how many messages in succession may respond to no query before the connection is reset.
	maxStrays = 64
	// lengthBytes is the size of the length before each message.
	lengthBytes = 2
)

// A stream is a TCP connection to one server. Queries are sent without waiting for the responses to
// those before, which may come in any order (RFC 7766, section 6.2.1.1).
type stream struct {
	server   *server
	conn     *loop.Conn         // nil until the connection is open
	cancel   context.CancelFunc // of connecting
	unsent   []byte             // queries, until the connection is open
	inFlight idTable
	sent     uint64 // queries
	answered uint64 // value of sent when the last response was received
	strays   int
	idle     *loop.Timer
	ended    bool
}

var (
	_ loop.Handler       = (*stream)(nil)
	_ loop.OpenedHandler = (*stream)(nil)
	_ loop.ClosedHandler = (*stream)(nil)
)

// sendTCP attaches t to a stream, and sends it, now or as soon as the stream is open.
func (s *server) sendTCP(t *transmission) error {
	st := s.stream
	if st == nil || st.inFlight.n >= streamQueries {
		var err error
		if st, err = s.openStream(); err != nil {
			return err
		}
	}
	b := append(st.unsent, 0, 0)
	start := len(b)
	b, err := t.appendQuery(b, &st.inFlight)
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint16(b[start-lengthBytes:], uint16(len(b)-start))
	st.inFlight.put(t)
	t.attach(nil, st)
	st.sent++
	t.sequence = st.sent
	st.stopIdle()
	s.x.sentTCP.Add(1)
	if st.conn == nil {
		st.unsent = b
		return nil
	}
	if _, err := st.conn.Write(b); err != nil {
		return causeOf(err)
	}
	return nil
}

// openStream begins to connect. The stream takes the place of the one before, which continues until its
// queries have ended.
func (s *server) openStream() (*stream, error) {
	ctx, cancel := context.WithCancel(context.Background())
	st := &stream{server: s, cancel: cancel}
	accept := func(c *loop.Conn) loop.Handler {
		st.conn = c
		return st
	}
	if err := s.x.loop.Dial(ctx, "tcp", s.addr.String(), accept, st.dialed, s.socketOptions()...); err != nil {
		cancel()
		return nil, causeOf(err)
	}
	s.stream = st
	s.opened()
	return st, nil
}

// dialed is called when connecting has ended. If it has succeeded, Opened was called before.
func (st *stream) dialed(_ *loop.Conn, err error) {
	st.cancel()
	if err != nil {
		st.end(causeOf(err))
	}
}

// Opened sends the queries that were made while connecting.
func (st *stream) Opened(c *loop.Conn) {
	if st.ended {
		c.Abort()
		return
	}
	unsent := st.unsent
	st.unsent = nil
	if _, err := c.Write(unsent); err != nil {
		c.AbortWith(err)
	}
}

// Data handles the complete messages in b.
func (st *stream) Data(_ *loop.Conn, b []byte) (consumed int, err error) {
	for !st.ended && len(b)-consumed >= lengthBytes {
		msg := b[consumed+lengthBytes:]
		n := int(binary.BigEndian.Uint16(b[consumed:]))
		if n > len(msg) {
			break
		}
		consumed += lengthBytes + n
		st.received(msg[:n])
	}
	return consumed, nil
}

// received handles a message. Over TCP, the case of the name proves nothing more.
func (st *stream) received(msg []byte) {
	var t *transmission
	if len(msg) >= 2 {
		t = st.inFlight.get(binary.BigEndian.Uint16(msg))
	}
	verdict := dnswire.Garbled
	if t != nil {
		verdict = dnswire.Match(msg, &t.sent)
	}
	switch verdict {
	case dnswire.Matched, dnswire.CaseLost:
		st.answered, st.strays = st.sent, 0
		t.server.responded(t, verdict)
		t.received(msg, false)
	case dnswire.QuestionMissing:
		st.answered, st.strays = st.sent, 0
		t.receivedWithoutQuestion()
	default:
		st.server.x.dropped.Add(1)
		if st.strays++; st.strays > maxStrays {
			st.abort(errors.New("the server sends responses that were not asked for"))
		}
	}
}

// Closed is called when the connection has ended.
func (st *stream) Closed(_ *loop.Conn, why error) {
	if why == nil || errors.Is(why, io.EOF) {
		why = io.ErrUnexpectedEOF
	}
	st.end(fmt.Errorf("connection ended before the response: %w", why))
}

// suspect is called when t, which waits on the stream, has timed out. If nothing has arrived since it was sent,
// the server may be gone, and other queries would wait in vain.
func (st *stream) suspect(t *transmission) {
	if st.answered < t.sequence {
		st.leave()
	}
}

// leave makes new queries use another stream.
func (st *stream) leave() {
	if st.server.stream == st {
		st.server.stream = nil
	}
}

// detach is called when t does not wait any more.
func (st *stream) detach(t *transmission) {
	st.inFlight.remove(t)
	switch {
	case st.ended || st.inFlight.n > 0:
	case st.conn == nil || st.server.stream != st:
		st.abort(context.Canceled)
	default:
		st.stopIdle()
		st.idle = st.server.x.loop.AfterFunc(streamIdle, st.close)
	}
}

func (st *stream) stopIdle() {
	if st.idle != nil {
		st.idle.Stop()
		st.idle = nil
	}
}

// close closes an open stream without queries.
func (st *stream) close() {
	st.end(context.Canceled)
	st.conn.Close()
}

// abort ends the stream, and the attempts of its queries with err.
func (st *stream) abort(err error) {
	st.end(err)
	st.cancel()
	if st.conn != nil {
		st.conn.Abort()
	}
}

// end releases the stream. A query on a stream that had been used before is sent once more: servers close
// idle connections at any time, such as while a query is on its way.
func (st *stream) end(err error) {
	if st.ended {
		return
	}
	st.ended = true
	st.leave()
	st.stopIdle()
	st.unsent = nil
	for _, t := range st.inFlight.inOrder() {
		switch {
		case t.stream != st: // those before it may have ended it
		case st.answered > 0 && !t.reopened:
			t.reopened = true
			t.sendAgain()
		default:
			t.failOver(err)
		}
	}
	st.server.released()
}
