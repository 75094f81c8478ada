//go:build windows

package overlapped

import (
	"math"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

// patience bounds each wait: a test fails after so long.
const patience = testkit.Watchdog

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// pattern returns the byte that streams carry at position i, which depends on i.
func pattern(i int) byte { return byte(i ^ i>>8*31 ^ i>>16*17) }

func patternBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = pattern(i)
	}
	return b
}

// A testStream stands for a loop's stream. It checks the contract for upcalls, and that the
// received bytes are the pattern.
type testStream struct {
	driver.Stream
	t *testing.T
	d *Driver

	connected, receiveEnded, released int
	connectErr, endErr, sendErr       error
	received                          int
	stopAt                            int // Received returns false from this position on
	onReceived                        func(b []byte)
	raw                               bool // the received bytes are not the pattern

	out         []byte
	sendPending bool
	sent        int

	noFlush bool // the test sends the rest after Sent
}

func newStream(t *testing.T, d *Driver) *testStream {
	e := &testStream{t: t, d: d, stopAt: math.MaxInt}
	e.Up = e
	return e
}

func (e *testStream) Connected(err error) {
	e.check("Connected")
	e.connected++
	e.connectErr = err
}

func (e *testStream) check(what string) {
	e.t.Helper()
	if e.released > 0 || e.Flags&gone != 0 && what != "Released" {
		e.t.Errorf("%s after Release", what)
	}
}

func (e *testStream) Received(b []byte) bool {
	e.check("Received")
	if len(b) == 0 || e.receiveEnded > 0 {
		e.t.Errorf("Received(%d bytes) of nothing, or after ReceiveEnded (which came %d times)", len(b), e.receiveEnded)
	}
	for i, x := range b {
		if x != pattern(e.received+i) && !e.raw {
			e.t.Fatalf("byte %d is %#x, want %#x", e.received+i, x, pattern(e.received+i))
		}
	}
	e.received += len(b)
	if e.onReceived != nil {
		e.onReceived(b)
	}
	return e.received < e.stopAt
}

func (e *testStream) ReceiveEnded(err error) {
	e.check("ReceiveEnded")
	e.receiveEnded++
	e.endErr = err
}

func (e *testStream) Failed(error) { e.check("Failed") }

func (e *testStream) Released() {
	e.check("Released")
	if !e.closed() {
		e.t.Error("Released while an operation is in flight")
	}
	e.released++
}

func (e *testStream) closed() bool {
	if e.Flags&attached == 0 {
		return true
	}
	for _, ops := range e.d.memory.ops {
		for i := range ops {
			// The driver may already have freed the stream's conn.
			if o := &ops[i]; o.state != idle && o.conn != nil && (o.conn.s == nil || o.conn.s == &e.Stream) {
				return false
			}
		}
	}
	return true
}

// send sends b, and takes ownership of it: bytes that were taken are overwritten immediately, as
// in a loop's reused blocks.
func (e *testStream) send(b []byte) {
	e.out = append(e.out, b...)
	e.flush()
}

func (e *testStream) flush() {
	for len(e.out) > 0 && !e.sendPending && e.sendErr == nil {
		half := len(e.out) / 3
		n, err := e.d.Send(&e.Stream, [][]byte{e.out[:half], e.out[half:]})
		e.sendPending = err == nil && n < len(e.out)
		e.overwriteSent(n, err)
	}
}

func (e *testStream) overwriteSent(n int, err error) {
	for i := range e.out[:n] {
		e.out[i] = 0xee
	}
	e.out = e.out[n:]
	e.sent += n
	e.sendErr = err
}

func (e *testStream) Sent(n int, err error) {
	if e.Flags&gone == 0 || !e.sendPending { // after Release, Sent reports what was in flight
		e.check("Sent")
	}
	if !e.sendPending {
		e.t.Error("Sent without a pending Send")
	}
	e.sendPending = false
	e.overwriteSent(n, err)
	if !e.noFlush && e.Flags&gone == 0 {
		e.flush()
	}
}

// A testListener stands for a loop's listener.
type testListener struct {
	driver.Listener
	t        *testing.T
	d        *Driver
	addr     netip.AddrPort
	accepted []*testStream
	onAccept func(e *testStream)
	incoming func()
	failed   []error
}

func (l *testListener) Incoming() *driver.Stream {
	if l.incoming != nil {
		l.incoming()
	}
	return &newStream(l.t, l.d).Stream
}

func (l *testListener) Accepted(s *driver.Stream) {
	if l.Flags&(paused|unlisted) != 0 {
		l.t.Error("Accepted while the listener is paused or closed")
	}
	e := s.Up.(*testStream)
	if err := l.d.Attach(s); err != nil {
		l.t.Fatal(err)
	}
	l.accepted = append(l.accepted, e)
	if l.onAccept != nil {
		l.onAccept(e)
	}
}

func (l *testListener) AcceptFailed(err error) { l.failed = append(l.failed, err) }

// open returns a driver. At the end of the test it closes the driver and checks that no handle is
// left open.
func open(t *testing.T) *Driver {
	t.Helper()
	before := testkit.CountUsage()
	d, err := Open(driver.Config{ScratchBytes: 64 << 10, BudgetBytes: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if d.inFlight != 0 {
			t.Errorf("%d operations are in flight after Close", d.inFlight)
		}
		before.Check(t)
	})
	return d
}

func listen(t *testing.T, d *Driver, options ...sock.Option) *testListener {
	t.Helper()
	s, err := sock.ListenTCP(loopback, options...)
	if err != nil {
		t.Fatal(err)
	}
	l := &testListener{t: t, d: d, addr: s.Addr()}
	l.Acceptor, l.Up = s, l
	if err := d.Listen(&l.Listener); err != nil {
		d.Unlisten(&l.Listener)
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, e := range l.accepted {
			d.Release(&e.Stream)
		}
		if l.Flags&listed != 0 {
			d.Unlisten(&l.Listener)
		}
		turnUntil(t, d, "Released", func() bool { return allReleased(l.accepted) })
	})
	return l
}

func allReleased(ends []*testStream) bool {
	for _, e := range ends {
		if e.released != 1 {
			return false
		}
	}
	return true
}

// turnUntil runs turns until ok returns true.
func turnUntil(t *testing.T, d *Driver, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("%s did not come", what)
		}
		if err := d.Turn(20 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}

// dial connects to l, without the driver.
func dial(t *testing.T, l *testListener) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", l.addr.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// pair returns a stream of the driver and its peer, which is outside the driver; options apply to
// the listener.
func pair(t *testing.T, d *Driver, options ...sock.Option) (*testStream, *net.TCPConn) {
	t.Helper()
	l := listen(t, d, options...)
	c := dial(t, l)
	turnUntil(t, d, "Accepted", func() bool { return len(l.accepted) == 1 })
	return l.accepted[0], c
}
