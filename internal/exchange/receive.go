package exchange

import (
	"errors"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/sock"
)

const (
	// receiveBytes is the size of the buffers for UDP responses, of which receiveBatch are received at once.
	// A longer one counts as truncated: its question is asked again over TCP.
	receiveBytes, receiveBatch = 2048, 32
	// maxBatches is how many batches of responses a socket receives in one turn of the loop.
	maxBatches = 8
	// maxReceiveErrors is how many errors in succession a socket may have before it is closed.
	maxReceiveErrors = 16
	// spareStrays is how many more messages that respond to nothing a socket may receive than it has sent queries.
	// Each query may have a late or duplicate response, so more are probably forged.
	spareStrays = 64
)

// errForged is why a query that is alone on its socket fails.
var errForged = errors.New("a message arrived that does not respond to the query; it may be forged")

// receive receives until the socket is drained, as it is watched for edges, or its budget of the
// turn is used.
func (u *udpSocket) receive() {
	x := u.server.x
	if x.incoming[0].Data == nil {
		buf := make([]byte, receiveBatch*receiveBytes)
		for i := range x.incoming {
			x.incoming[i].Data = buf[i*receiveBytes : (i+1)*receiveBytes : (i+1)*receiveBytes]
		}
	}
	size := min(u.inFlight.n+1, receiveBatch) // a large batch has a cost even if it receives little
	for range maxBatches {
		if u.closed {
			return
		}
		n, err := u.u.ReadBatch(x.incoming[:size])
		switch {
		case errors.Is(err, sock.ErrWouldBlock):
			return
		case err != nil && u.errors == maxReceiveErrors:
			u.retire()
			u.fail(causeOf(err))
			return
		case err != nil:
			u.errors++
			u.fail(causeOf(err)) // such as ECONNREFUSED: the server does not run
			continue
		}
		u.errors = 0
		for i := 0; i < n && !u.closed; i++ {
			u.received(&x.incoming[i])
		}
		if n == size {
			size = receiveBatch
		}
	}
	x.loop.AfterFunc(0, u.receive)
}

// received handles a datagram, which may be forged. What does not match a query is dropped, and the query goes
// on waiting: the true response may follow.
func (u *udpSocket) received(m *sock.Message) {
	msg := m.Data[:min(m.N, len(m.Data))]
	t := u.match(m, msg)
	if t == nil {
		u.stray()
		return
	}
	v := dnswire.Match(msg, &t.sent)
	switch {
	case v == dnswire.Matched, v == dnswire.CaseLost && t.alone:
		t.server.responded(t, v)
		t.received(msg, m.Truncated)
	case v == dnswire.CaseLost:
		t.server.responded(t, v)
		t.loseCase()
	case v == dnswire.QuestionMissing && t.receivedWithoutQuestion():
	default:
		u.stray()
	}
}

// match returns the transmission with the ID of msg. The kernel compares the sender; but a datagram may have
// arrived before the socket was connected.
func (u *udpSocket) match(m *sock.Message, msg []byte) *transmission {
	from, server := m.Addr, u.server.addr
	if len(msg) < 2 || from.Port() != server.Port() || from.Addr().Unmap().WithZone("") != server.Addr().Unmap().WithZone("") {
		return nil
	}
	return u.inFlight.get(uint16(msg[0])<<8 | uint16(msg[1]))
}

// stray counts a message that responds to nothing. Too many of them are probably of a forger that knows the
// port and tries IDs: then the socket is retired, and its queries are sent over TCP, before one of the IDs is right.
func (u *udpSocket) stray() {
	u.server.x.dropped.Add(1)
	u.strays++
	if !u.alone && u.strays <= u.sent+spareStrays {
		return
	}
	u.retire()
	for _, t := range u.inFlight.inOrder() {
		switch {
		case t.socket != u: // those before it may have ended it
		case u.alone:
			t.fail(errForged)
		default:
			t.againOverTCP()
		}
	}
}
