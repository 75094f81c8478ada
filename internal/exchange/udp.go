package exchange

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/wheel"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// Limits of the UDP sockets.
const (
	// DefaultSockets is among how many sockets a query chooses at random, by default: a forged response
	// must have the right one of their ports.
	DefaultSockets = 4
	// queriesPerSocket is how many queries wait on a socket, on the average: with more, there are more
	// sockets. Their responses must fit into the socket's receive buffer, even if all arrive at once.
	queriesPerSocket = 128
	// socketQueries and socketAge are how many queries a socket sends, and for how long it is used: then
	// another one, with another port, takes its place, so that a port that was guessed is soon of no use.
	socketQueries = 1000
	socketAge     = 10 * time.Second
	// maxAlone is how many sockets of sendAlone a server has at a time.
	maxAlone = 128
)

// A udpSocket is a socket that is connected to one server, from a random port: the kernel drops what
// others send, and reports if the server's port is closed.
type udpSocket struct {
	server   *server
	u        *sock.UDPSocket
	watch    *loop.Watch
	age      wheel.Timer
	inFlight idTable
	outbox
	sent    int
	strays  int
	errors  int  // in succession, of receiving
	alone   bool // for one transmission
	retired bool // sends no more queries, and is closed when none waits for a response
	closed  bool
}

// sendUDP attaches t to one of the sockets, which sends it at the end of the turn.
func (s *server) sendUDP(t *transmission) error {
	u, err := s.socket()
	if err != nil {
		return err
	}
	if err := u.put(t); err != nil {
		return err
	}
	if u.sent >= socketQueries {
		u.retire()
	}
	return nil
}

// sendAlone is sendUDP on a new socket. A response may have the name in any case, so a forger must guess the port of
// this socket, besides the ID, at the first attempt (udpSocket.stray).
func (s *server) sendAlone(t *transmission) error {
	if s.alone >= maxAlone {
		return errTooMany
	}
	u, err := s.openSocket()
	if err != nil {
		return err
	}
	s.alone++
	u.alone, u.retired = true, true
	if err := u.put(t); err != nil {
		u.closeIfUnused()
		return err
	}
	return nil
}

// put attaches t, and puts it into the outbox.
func (u *udpSocket) put(t *transmission) error {
	if err := u.append(t, &u.inFlight); err != nil {
		return err
	}
	u.inFlight.put(t)
	t.attach(u, nil)
	u.sent++
	x := u.server.x
	x.sentUDP.Add(1)
	x.flushLater(u)
	return nil
}

// socket returns one of the sockets at random. If the system lacks what a new one needs, such as
// descriptors, it returns another that exists.
func (s *server) socket() (*udpSocket, error) {
	n := max(s.x.limits.Sockets, len(s.sources), s.inFlight/queriesPerSocket+1)
	for len(s.sockets) < n {
		s.sockets = append(s.sockets, nil)
	}
	slot := int(s.x.random() % uint64(n))
	if s.sockets[slot] != nil {
		return s.sockets[slot], nil
	}
	u, err := s.openSocket()
	if err == nil {
		s.sockets[slot] = u
		u.age.Fire = func(*wheel.Timer) { u.retire() }
		s.x.startAlarm(&u.age, s.x.now()+int64(socketAge))
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
	conn, err := sock.ConnectUDP(s.addr, s.socketOptions(sock.OnNetwork(s.x.network))...)
	if err != nil {
		return nil, causeOf(err)
	}
	u := &udpSocket{server: s, u: conn}
	u.outbox.retry.Fire = func(*wheel.Timer) { u.flush() }
	var early error // reported before WatchLater returns: the loop is about to end
	u.watch = s.x.loop.WatchLater(conn, pollux.Readable, func(pollux.Event) { u.receive() }, func(err error) {
		if u.watch == nil {
			early = err
			return
		}
		u.watched(err)
	})
	if early != nil {
		conn.Close()
		return nil, early
	}
	s.opened()
	return u, nil
}

// socketOptions adds the next of the source addresses.
func (s *server) socketOptions(options ...sock.Option) []sock.Option {
	if len(s.sources) == 0 {
		return options
	}
	source := s.sources[s.nextSource%len(s.sources)]
	s.nextSource++
	return append(options, sock.LocalAddr(netip.AddrPortFrom(source, 0)))
}

// watched is called with the result of WatchLater.
func (u *udpSocket) watched(err error) {
	if err != nil {
		u.retire()
		u.fail(err)
	}
}

// fail ends all transmissions that wait on the socket.
func (u *udpSocket) fail(err error) {
	u.server.unreachable()
	for _, t := range u.inFlight.inOrder() {
		if t.socket == u { // those before it may have ended it
			t.fail(err)
		}
	}
}

func (u *udpSocket) detach(t *transmission) {
	u.inFlight.remove(t)
	u.closeIfUnused()
}

// retire takes the socket out of use: queries that wait for responses go on.
func (u *udpSocket) retire() {
	if u.retired {
		return
	}
	u.retired = true
	s := u.server
	s.x.stopAlarm(&u.age)
	for i := range s.sockets {
		if s.sockets[i] == u {
			s.sockets[i] = nil
		}
	}
	u.closeIfUnused()
}

func (u *udpSocket) closeIfUnused() {
	if !u.retired || u.closed || u.inFlight.n > 0 {
		return
	}
	u.closed = true
	s := u.server
	s.x.stopAlarm(&u.retry)
	if u.alone {
		s.alone--
	}
	u.watch.Stop(func() { u.u.Close() })
	s.released()
}

// causeOf returns the error within a *net.OpError: a Step has the address already. The operation is left out if the error
// names the system call.
func causeOf(err error) error {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok {
		return err
	}
	if _, ok := errors.AsType[*os.SyscallError](op.Err); ok {
		return op.Err
	}
	return fmt.Errorf("%s: %w", op.Op, op.Err)
}
