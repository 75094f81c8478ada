package uring

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

// bench is a driver under test, with streams whose peers are connections of package net.
type bench struct {
	testing.TB
	*Driver
	ln   net.Listener
	lost int // operations that Close cannot cancel: the thread of the ring has ended
}

var small = options{entries: 4, completions: 8, buffers: 4}

const (
	testBuffer = 4 << 10
	testBudget = 16 << 10
)

// newBench opens a driver. At the end of the test it closes the driver and checks that no
// descriptor is left open.
func newBench(t testing.TB, o options) *bench {
	t.Helper()
	if err := Probe(); err != nil {
		t.Skipf("uring is not usable here: %v", err)
	}
	before := testkit.CountUsage()
	d, err := open(driver.Config{ScratchBytes: testBuffer, BudgetBytes: testBudget}, o)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{TB: t, Driver: d, ln: ln}
	t.Cleanup(func() {
		b.Close()
		ln.Close()
		if b.inFlight != b.lost {
			t.Errorf("%d operations are in flight after Close, want %d", b.inFlight, b.lost)
		}
		before.Check(t)
	})
	return b
}

// testStream records its upcalls.
type testStream struct {
	driver.Stream
	b         *bench
	peer      net.Conn
	connected bool
	in        []byte
	calls     int
	most      int // received in one turn
	thisTurn  int
	turnOf    uint32
	end       error
	sent      int
	sends     int
	sendErr   error
	released  bool
	onData    func([]byte) bool
}

func (s *testStream) Connected(err error) {
	s.check("Connected")
	if err != nil {
		s.b.Error(err)
	}
	s.connected = true
}

func (s *testStream) Received(p []byte) bool {
	if s.Flags&draining == 0 {
		s.check("Received")
	}
	if s.turnOf != s.b.turn {
		s.turnOf, s.thisTurn = s.b.turn, 0
	}
	s.thisTurn += len(p)
	s.most = max(s.most, s.thisTurn)
	s.calls++
	s.in = append(s.in, p...)
	return s.onData == nil || s.onData(p)
}

func (s *testStream) ReceiveEnded(err error) {
	s.check("ReceiveEnded")
	if s.end != nil {
		s.b.Errorf("ReceiveEnded twice: %v, then %v", s.end, err)
	}
	s.end = err
}

func (s *testStream) Sent(n int, err error) {
	if n == 0 || err != nil { // after Release, Sent reports what was in flight
		s.check("Sent")
	}
	s.sent, s.sendErr = s.sent+n, err
	s.sends++
}

func (s *testStream) Failed(error) { s.check("Failed") }

func (s *testStream) Released() {
	if s.released {
		s.b.Error("Released twice")
	}
	s.released = true
}

func (s *testStream) check(call string) {
	if s.Flags&gone != 0 {
		s.b.Errorf("%s after Release", call)
	}
}

// awaitUnread waits until the socket has n bytes that the driver has not received.
func (s *testStream) awaitUnread(n int) {
	s.b.Helper()
	unread := func() int { n, _ := stream.Of(&s.Stream).UnreadBytes(); return n }
	if !testkit.Eventually(func() bool { return unread() >= n }) {
		s.b.Fatalf("%d bytes have arrived, want %d", unread(), n)
	}
}

// connect returns n connected, paused streams.
func (b *bench) connect(n int) []*testStream {
	b.Helper()
	all := make([]*testStream, n)
	for i := range all {
		s := &testStream{b: b}
		s.Up = s
		stream.PrepareOnly(s)
		if err := sock.ConnectTCPInto(&s.Stream.Stream, b.ln.Addr().(*net.TCPAddr).AddrPort()); err != nil {
			b.Fatal(err)
		}
		if err := b.Connect(&s.Stream); err != nil {
			b.Fatal(err)
		}
		all[i] = s
	}
	if err := b.Turn(0); err != nil { // submits
		b.Fatal(err)
	}
	byAddr := map[netip.AddrPort]net.Conn{}
	for range all {
		c, err := b.ln.Accept()
		if err != nil {
			b.Fatal(err)
		}
		byAddr[c.RemoteAddr().(*net.TCPAddr).AddrPort()] = c
	}
	for _, s := range all {
		b.until(func() bool { return s.connected })
		s.peer = byAddr[s.LocalNetAddr().(*net.TCPAddr).AddrPort()]
	}
	return all
}

// until runs turns until ok returns true.
func (b *bench) until(ok func() bool) {
	b.Helper()
	for end := time.Now().Add(testkit.Watchdog); !ok(); {
		if time.Now().After(end) {
			b.Fatal("timed out waiting for a condition")
		}
		if err := b.Turn(20 * time.Millisecond); err != nil {
			b.Fatal(err)
		}
	}
}

// turnUntilQuiet runs turns until the stream has received nothing for a while.
func (b *bench) turnUntilQuiet(s *testStream) {
	b.Helper()
	for quiet := 0; quiet < 5; quiet++ {
		n := s.calls
		if err := b.Turn(2 * time.Millisecond); err != nil {
			b.Fatal(err)
		}
		if s.calls != n {
			quiet = 0
		}
	}
}

// end releases the streams.
func (b *bench) end(all ...*testStream) {
	b.Helper()
	for _, s := range all {
		b.Release(&s.Stream)
	}
	for _, s := range all {
		b.until(func() bool { return s.released })
		s.peer.Close()
	}
	if n := b.buffers.held; n != 0 {
		b.Errorf("%d buffers are held for released streams", n)
	}
}

// write writes in the background, and checks that it succeeds.
func (s *testStream) write(p []byte) {
	go func() {
		if _, err := s.peer.Write(p); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
			s.b.Error(err)
		}
	}()
}

// pattern returns n bytes that depend on seed and position.
func pattern(seed byte, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i)*31 ^ byte(i>>8)*17 ^ byte(i>>16) ^ seed
	}
	return p
}

// listener records its upcalls.
type listener struct {
	driver.Listener
	b        *bench
	accepted []*testStream
	failed   []error
	onAccept func()
}

func (l *listener) Incoming() *driver.Stream {
	s := &testStream{b: l.b}
	s.Up = s
	l.accepted = append(l.accepted, s)
	return &s.Stream
}

func (l *listener) Accepted(*driver.Stream) {
	if l.onAccept != nil {
		l.onAccept()
	}
}

func (l *listener) AcceptFailed(err error) { l.failed = append(l.failed, err) }

func (b *bench) listen() (*listener, *sock.TCPListener) {
	b.Helper()
	ln, err := sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		b.Fatal(err)
	}
	l := &listener{b: b}
	l.Acceptor, l.Up = ln, l
	if err := b.Listen(&l.Listener); err != nil {
		b.Fatal(err)
	}
	return l, ln
}

func (b *bench) dial(ln *sock.TCPListener) net.Conn {
	b.Helper()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}
