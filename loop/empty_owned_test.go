package loop

import (
	"errors"
	"net"
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

// noEmptySends is noKernel, whose sends of no bytes fail, as those of a kernel do after FIN.
type noEmptySends struct{ noKernel }

func (d *noEmptySends) Send(s *driver.Stream, bufs [][]byte) (int, error) {
	n, err := d.noKernel.Send(s, bufs)
	if n == 0 {
		return 0, errors.New("a send of no bytes")
	}
	return n, err
}

// L3: WriteOwned of an empty slice by another goroutine, immediately before the connection begins to
// close by itself, does not reset it: done gets nil, and the connection waits for the peer's FIN.
func TestL3EmptyWriteOwnedBeforeClose(t *testing.T) {
	skipIfWrapped(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	l := newStandingLoop(t, &noEmptySends{})
	c := l.newConn()
	if err := sock.ConnectTCPInto(&c.stream.Stream, ln.Addr().(*net.TCPAddr).AddrPort()); err != nil {
		t.Fatal(err)
	}
	defer c.stream.Close()
	if !testkit.Eventually(func() bool { return c.stream.ConnectError() == nil }) {
		t.Fatal(c.stream.ConnectError())
	}
	c.accepted = &Listener{accept: func(*Conn) Handler { return echoer{} }}
	c.attach()

	var results []error
	if _, err := c.WriteOwned(nil, func(err error) { results = append(results, err) }); err != nil {
		t.Fatal(err)
	}
	c.beginClose(ErrUnreadFull) // before the loop has taken the connection out of its inbox
	if c.phase != lingering {
		t.Fatalf("the connection is %v, want lingering", c.phase)
	}
	c.serve()
	if len(results) != 1 || results[0] != nil {
		t.Errorf("done was called with %v, want once with nil", results)
	}
	if c.phase != lingering {
		t.Errorf("the connection is %v, want lingering: the peer has not closed", c.phase)
	}
}
