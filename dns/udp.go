package dns

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// Limits of the UDP sockets.
const (
	// socketsPerServer is among how many sockets a query chooses at random: a forged response must
	// have the right one of their ports.
	socketsPerServer = 4
	// socketQueries and socketAge are how many queries a socket sends, and for how long it is used: then
	// another one, with another port, takes its place, so that a port that was guessed is soon of no use.
	socketQueries = 1000
	socketAge     = 10 * time.Second
	// maxBatches is how many batches of responses a socket receives in one turn of the loop.
	maxBatches = 8
	// maxReceiveErrors is how many errors in succession a socket may have before it is closed.
	maxReceiveErrors = 16
	// resendDelay is when a query is sent that the socket had no buffer for.
	resendDelay = 2 * time.Millisecond
)

// A udpSocket is a socket that is connected to one server, from a random port: the kernel drops what
// others send, and reports if the server's port is closed.
type udpSocket struct {
	server   *server
	u        *sock.UDPSocket
	watch    *loop.Watch
	age      *loop.Timer
	inFlight map[uint16]*query // by ID
	sent     int
	errors   int  // in succession, of receiving
	retired  bool // sends no more queries, and is closed when no query waits for a response
	closed   bool
}

// sendUDP attaches q to a socket, and sends it.
func (s *server) sendUDP(q *query) error {
	u, err := s.socket()
	if err != nil {
		return err
	}
	if s.x.query, err = s.appendQuery(s.x.query[:0], q, u.inFlight); err != nil {
		return err
	}
	u.inFlight[q.sent.ID] = q
	q.socket = u
	u.sent++
	s.x.sentUDP.Add(1)
	switch _, err = u.u.Write(s.x.query); {
	case errors.Is(err, sock.ErrWouldBlock):
		id := q.sent.ID
		s.x.loop.AfterFunc(resendDelay, func() {
			if u.inFlight[id] == q {
				q.again()
			}
		})
	case err != nil:
		q.detach()
		return causeOf(err)
	}
	if u.sent >= socketQueries {
		u.retire()
	}
	return nil
}

// socket returns one of the sockets at random. If the system lacks what a new one needs, such as
// descriptors, it returns another that exists.
func (s *server) socket() (*udpSocket, error) {
	slot := int(s.x.random() % socketsPerServer)
	if s.sockets[slot] != nil {
		return s.sockets[slot], nil
	}
	u, err := s.openSocket()
	if err == nil {
		s.sockets[slot] = u
		return u, nil
	}
	for _, u := range s.sockets {
		if u != nil {
			return u, nil
		}
	}
	return nil, err
}

func (s *server) openSocket() (*udpSocket, error) {
	conn, err := sock.ConnectUDP(s.addr, sock.OnNetwork(s.x.network))
	if err != nil {
		return nil, causeOf(err)
	}
	u := &udpSocket{server: s, u: conn, inFlight: map[uint16]*query{}}
	s.open++
	u.watch = s.x.loop.WatchLater(conn, pollux.Readable, func(pollux.Event) { u.receive() }, u.watched)
	u.age = s.x.loop.AfterFunc(socketAge, u.retire)
	return u, nil
}

// watched is called with the result of WatchLater.
func (u *udpSocket) watched(err error) {
	if err != nil {
		u.retire()
		u.fail(err)
	}
}

// receive receives until the socket is drained, as it is watched for edges, or its budget of the
// turn is used.
func (u *udpSocket) receive() {
	x := u.server.x
	if x.messages[0].Data == nil {
		for i := range x.messages {
			x.messages[i].Data = make([]byte, receiveBytes)
		}
	}
	for range maxBatches {
		if u.closed {
			return
		}
		n, err := u.u.ReadBatch(x.messages[:])
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
		for i := range n {
			u.received(&x.messages[i])
		}
	}
	x.loop.AfterFunc(0, u.receive)
}

// received handles a datagram, which may be forged. What does not match a query is dropped, and the query goes
// on waiting: the true response may follow.
func (u *udpSocket) received(m *sock.Message) {
	msg := m.Data[:min(m.N, len(m.Data))]
	q := u.match(m, msg)
	if q == nil {
		u.server.x.dropped.Add(1)
		return
	}
	switch dnswire.Match(msg, &q.sent) {
	case dnswire.Matched:
		q.received(msg, m.Truncated)
	case dnswire.CaseLost:
		q.againOverTCP()
	case dnswire.QuestionMissing:
		q.receivedWithoutQuestion()
	default:
		u.server.x.dropped.Add(1)
	}
}

// match returns the query with the ID of msg. The kernel compares the sender; but a datagram may have arrived
// before the socket was connected.
func (u *udpSocket) match(m *sock.Message, msg []byte) *query {
	from, server := m.Addr, u.server.addr
	if len(msg) < 2 || from.Port() != server.Port() || from.Addr().Unmap().WithZone("") != server.Addr().Unmap().WithZone("") {
		return nil
	}
	return u.inFlight[uint16(msg[0])<<8|uint16(msg[1])]
}

// fail ends the attempts of all queries that wait on the socket.
func (u *udpSocket) fail(err error) {
	for _, q := range inOrder(u.inFlight) {
		if q.socket == u { // those before it may have ended it
			q.fail(err)
		}
	}
}

// inOrder returns the queries ordered by ID, so that a run on a simulated network can be repeated.
func inOrder(queries map[uint16]*query) []*query {
	all := make([]*query, 0, len(queries))
	for _, q := range queries {
		all = append(all, q)
	}
	slices.SortFunc(all, func(a, b *query) int { return int(a.sent.ID) - int(b.sent.ID) })
	return all
}

func (u *udpSocket) detach(q *query) {
	delete(u.inFlight, q.sent.ID)
	u.closeIfUnused()
}

// retire takes the socket out of use: queries that wait for responses go on.
func (u *udpSocket) retire() {
	if u.retired {
		return
	}
	u.retired = true
	u.age.Stop()
	s := u.server
	s.plain = false
	for i := range s.sockets {
		if s.sockets[i] == u {
			s.sockets[i] = nil
		}
	}
	u.closeIfUnused()
}

func (u *udpSocket) closeIfUnused() {
	if !u.retired || u.closed || len(u.inFlight) > 0 {
		return
	}
	u.closed = true
	u.watch.Stop(func() { u.u.Close() })
	u.server.released()
}

// causeOf returns the error within a *net.OpError: a Step has the address already.
func causeOf(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	return err
}
