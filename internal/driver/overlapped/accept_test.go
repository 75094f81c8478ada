//go:build windows

package overlapped

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

func uintptrOf(o *op) uintptr { return uintptr(unsafe.Pointer(o.ov)) }

// A listener has several accepts in flight, and each connection is delivered once.
func TestAcceptsInFlight(t *testing.T) {
	d := open(t)
	l := listen(t, d)
	d.Turn(0)
	a := d.listeners.At(l.Index)
	if a.inFlight != acceptsInFlight {
		t.Fatalf("%d accepts are in flight, want %d", a.inFlight, acceptsInFlight)
	}
	const n = 5 * acceptsInFlight
	for range n {
		dial(t, l)
	}
	turnUntil(t, d, "all connections", func() bool { return len(l.accepted) == n })
	d.Turn(0)
	if a.inFlight != acceptsInFlight {
		t.Errorf("%d accepts are in flight after the connections, want %d", a.inFlight, acceptsInFlight)
	}
	seen := map[string]bool{}
	for _, e := range l.accepted {
		at := e.RemoteNetAddr()
		if at == nil || seen[at.String()] {
			t.Fatalf("the peer's address is %v", at)
		}
		seen[at.String()] = true
	}
}

// A listener on [::] accepts IPv4 as well.
func TestDualStack(t *testing.T) {
	d := open(t)
	s, err := sock.ListenTCP(netip.MustParseAddrPort("[::]:0"))
	if err != nil {
		t.Skip("no IPv6: ", err)
	}
	l := &testListener{t: t, d: d}
	l.Acceptor, l.Up = s, l
	if err := d.Listen(&l.Listener); err != nil {
		t.Fatal(err)
	}
	for i, host := range []string{"127.0.0.1", "::1"} {
		l.addr = netip.AddrPortFrom(netip.MustParseAddr(host), s.Addr().Port())
		dial(t, l)
		turnUntil(t, d, "Accepted", func() bool { return len(l.accepted) == i+1 })
		if at := l.accepted[i].RemoteNetAddr().(*net.TCPAddr); at.IP.String() != host {
			t.Errorf("a connection from %s was accepted with the peer's address %v", host, at)
		}
		d.Release(&l.accepted[i].Stream)
	}
	d.Unlisten(&l.Listener)
	turnUntil(t, d, "Released", func() bool { return allReleased(l.accepted) })
}

// While a listener is paused, no connection is delivered, and none is lost: those accepted as it
// was paused are delivered when it is resumed.
func TestPauseAccept(t *testing.T) {
	d := open(t)
	l := listen(t, d)
	d.Turn(0)
	const n = 40
	for i := range n {
		dial(t, l)
		switch i % 10 {
		case 3:
			d.PauseAccept(&l.Listener) // completions of accepts are still in the port
			d.Turn(time.Millisecond)
		case 7:
			d.ResumeAccept(&l.Listener)
			d.Turn(time.Millisecond)
		}
	}
	d.PauseAccept(&l.Listener)
	a := d.listeners.At(l.Index)
	turnUntil(t, d, "the end of the accepts", func() bool { return a.inFlight == 0 })
	before := len(l.accepted)
	for range 4 {
		d.Turn(5 * time.Millisecond)
	}
	if len(l.accepted) != before {
		t.Error("Accepted was called while the listener is paused")
	}
	d.ResumeAccept(&l.Listener)
	turnUntil(t, d, "all connections", func() bool { return len(l.accepted) == n })
	d.Turn(0)
	d.PauseAccept(&l.Listener)
	d.ResumeAccept(&l.Listener) // before the turn that would cancel the accepts
	d.Turn(0)
	if a.inFlight != acceptsInFlight {
		t.Errorf("%d accepts are in flight, want %d", a.inFlight, acceptsInFlight)
	}
}

// Connections that are held when the listener is closed are closed.
func TestUnlistenWithConnectionsHeld(t *testing.T) {
	d := open(t)
	l := listen(t, d)
	d.Turn(0)
	c := dial(t, l)
	d.PauseAccept(&l.Listener)
	a := d.listeners.At(l.Index)
	turnUntil(t, d, "the end of the accepts", func() bool { return a.inFlight == 0 })
	if len(a.held) != 1 {
		t.Skip("the connection came too late to be held")
	}
	d.Unlisten(&l.Listener)
	c.SetReadDeadline(time.Now().Add(patience))
	var timeout net.Error
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("the held connection is still open: %v", err)
	}
	d.Turn(0)
	if len(l.accepted) != 0 {
		t.Error("Accepted after Unlisten")
	}
}

// A listener with accepts in flight is closed together with the driver, without a turn in between.
func TestCloseWithAcceptsInFlight(t *testing.T) {
	d := open(t) // checks at the end that no handle is left
	l := listen(t, d)
	d.Turn(0)
	dial(t, l)
	d.Unlisten(&l.Listener)
}

// Incoming is an upcall like the others: it may pause and close the listener.
func TestIncomingEndsAccepting(t *testing.T) {
	d := open(t)
	l := listen(t, d)
	asked := false
	l.incoming = func() { d.PauseAccept(&l.Listener); asked = true }
	dial(t, l)
	turnUntil(t, d, "Incoming", func() bool { return asked })
	d.Turn(0)
	if len(l.accepted) != 0 {
		t.Error("Accepted was called after Incoming had paused the listener")
	}
	l.incoming = nil
	d.ResumeAccept(&l.Listener)
	turnUntil(t, d, "Accepted", func() bool { return len(l.accepted) == 1 })
	asked = false
	l.incoming = func() { d.Unlisten(&l.Listener); asked = true }
	dial(t, l)
	turnUntil(t, d, "Incoming", func() bool { return asked })
	d.Turn(0)
	if len(l.accepted) != 1 {
		t.Error("Accepted was called after Incoming had closed the listener")
	}
}

// If sockets cannot be created, AcceptFailed comes once, accepting is paused, and it continues
// after ResumeAccept.
func TestAcceptFails(t *testing.T) {
	d := open(t)
	l := listen(t, d)
	a := d.listeners.At(l.Index)
	right := a.family
	a.family = 99
	turnUntil(t, d, "AcceptFailed", func() bool { return len(l.failed) > 0 })
	for range 3 {
		d.Turn(time.Millisecond)
	}
	if len(l.failed) != 1 || l.Flags&paused == 0 {
		t.Errorf("AcceptFailed came %d times, want once, and the listener paused", len(l.failed))
	}
	a.family = right
	dial(t, l)
	d.ResumeAccept(&l.Listener)
	turnUntil(t, d, "Accepted", func() bool { return len(l.accepted) == 1 })
}

// A listener that belongs to another port is served by readiness; such a stream is refused.
func TestOtherPort(t *testing.T) {
	d := open(t)
	port, e := sys.CreatePort()
	if e != 0 {
		t.Fatal(e)
	}
	defer sys.CloseHandle(port)
	joinOther := func(h driver.Acceptor) {
		fd, _ := handle.Of(h).Use()
		defer handle.Of(h).Done()
		if e := sys.JoinPort(fd, port, 1); e != 0 {
			t.Fatal(e)
		}
	}
	s, err := sock.ListenTCP(loopback)
	if err != nil {
		t.Fatal(err)
	}
	joinOther(s)
	l := &testListener{t: t, d: d, addr: s.Addr()}
	l.Acceptor, l.Up = s, l
	if err := d.Listen(&l.Listener); err != nil {
		t.Fatal(err)
	}
	a := d.listeners.At(l.Index)
	const n = 2*acceptsInFlight + 3
	for range n {
		dial(t, l)
	}
	turnUntil(t, d, "all connections", func() bool { return len(l.accepted) == n })
	dial(t, l)
	d.PauseAccept(&l.Listener)
	for range 3 {
		d.Turn(time.Millisecond)
	}
	d.ResumeAccept(&l.Listener)
	turnUntil(t, d, "one more", func() bool { return len(l.accepted) == n+1 })
	if !a.polled {
		t.Error("the listener is not served by readiness")
	}

	client := newStream(t, d)
	if err := sock.ConnectTCPInto(&client.Stream.Stream, l.addr); err != nil {
		t.Fatal(err)
	}
	turnUntil(t, d, "the connection", func() bool { return len(l.accepted) == n+2 && client.ConnectError() == nil })
	fd, _ := handle.Of(client).Use()
	handle.Of(client).Done()
	if e := sys.JoinPort(fd, port, 1); e != 0 {
		t.Fatal(e)
	}
	if err := d.Attach(&client.Stream); !errors.Is(err, errOtherPort) {
		t.Errorf("Attach of a stream of another port: %v", err)
	}
	d.Release(&client.Stream)
	for _, e := range l.accepted {
		d.Release(&e.Stream)
	}
	d.Unlisten(&l.Listener)
	turnUntil(t, d, "Released", func() bool { return client.released == 1 && allReleased(l.accepted) })
}

// Connections that were accepted and not delivered are reset when the listener is closed, as
// those in a backlog are: the peer must not read an EOF as of a connection that was served.
func TestUnlistenResetsUndelivered(t *testing.T) {
	for _, where := range []string{"held", "in flight"} {
		t.Run(where, func(t *testing.T) {
			d := open(t)
			l := listen(t, d)
			d.Turn(0)
			if where == "held" {
				d.PauseAccept(&l.Listener)
			}
			c, err := net.Dial("tcp", l.addr.String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for end := time.Now().Add(patience); where == "held" && len(d.listeners.At(l.Index).held) == 0; {
				if time.Now().After(end) {
					t.Fatal("the connection is not held")
				}
				d.Turn(time.Millisecond)
			}
			d.Unlisten(&l.Listener)
			for range 5 {
				d.Turn(5 * time.Millisecond)
			}
			c.SetDeadline(time.Now().Add(patience))
			_, readErr := c.Read(make([]byte, 1))
			_, writeErr := c.Write([]byte{1}) // on Wine, a read after a reset may return EOF
			if (readErr == nil || errors.Is(readErr, io.EOF)) && writeErr == nil {
				t.Errorf("the peer reads %v, and can write", readErr)
			}
			if len(l.accepted) > 0 {
				t.Error("Accepted was called for the connection")
			}
		})
	}
}
