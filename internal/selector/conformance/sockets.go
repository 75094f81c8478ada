package conformance

import (
	"net/netip"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/sock"
)

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// SocketsOn returns Sockets with the limits of the named backend on this system. The
// backend must be the one that New chooses.
func SocketsOn(backend string) System {
	s := Sockets()
	s.Limits = limitsOf(backend)
	return s
}

// Sockets returns the System of this machine's kernel: TCP over loopback, and the
// optional functions that the system supports.
func Sockets() System {
	s := System{NewPoll: pollux.New, NewQueue: newQueue, Pair: tcpPair, Listen: listenTCP, Reset: reset, RefusedConnect: refusedTCP}
	addSystem(&s)
	return s
}

func newQueue(c selector.Config) (*queue.Poll, error) { return queue.Open("", "", c) }

func tcpPair() (a, b Stream, err error) {
	l, err := sock.ListenTCP(loopback)
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	c, err := sock.ConnectTCP(l.Addr())
	if err != nil {
		return nil, nil, err
	}
	for end := time.Now().Add(deadline); ; {
		s, err := l.Accept()
		if err == nil {
			err = waitConnected(c, end)
		}
		if err == nil {
			return s, c, nil
		}
		if err != sock.ErrWouldBlock || time.Now().After(end) {
			c.Close()
			return nil, nil, err
		}
	}
}

func waitConnected(c *sock.TCPStream, end time.Time) error {
	for {
		err := c.ConnectError()
		if err != sock.ErrWouldBlock || time.Now().After(end) {
			return err
		}
	}
}

type tcpListener struct{ *sock.TCPListener }

func listenTCP() (Listener, error) {
	l, err := sock.ListenTCP(loopback)
	if err != nil {
		return nil, err
	}
	return tcpListener{l}, nil
}

func (l tcpListener) Accept() (Stream, error) { return stream(l.TCPListener.Accept()) }

func (l tcpListener) Connect() (Stream, error) { return stream(sock.ConnectTCP(l.Addr())) }

// stream prevents that a nil pointer becomes a Stream that is not nil.
func stream(s *sock.TCPStream, err error) (Stream, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

func reset(s Stream) error { return s.(*sock.TCPStream).SetLinger(0) }

func refusedTCP() (Stream, error) {
	l, err := sock.ListenTCP(loopback)
	if err != nil {
		return nil, err
	}
	addr := l.Addr()
	l.Close()
	return stream(sock.ConnectTCP(addr))
}
