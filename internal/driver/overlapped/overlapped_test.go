//go:build windows

package overlapped

import (
	"errors"
	"io"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// Large simultaneous transfers in both directions through buffers of a few KiB: sends and
// receives are split anywhere, and nothing is lost, duplicated or read too late.
func TestLargeTransfersThroughTinyBuffers(t *testing.T) {
	const total = 6 << 20
	d := open(t)
	e, c := pair(t, d, sock.ReadBuffer(4<<10), sock.WriteBuffer(4<<10))
	d.Resume(&e.Stream)
	var wg sync.WaitGroup
	wg.Go(func() { c.Write(patternBytes(total)) })
	wg.Go(func() {
		got := make([]byte, 3000) // not a divisor of any buffer's size
		for n := 0; n < total; {
			k, err := c.Read(got)
			if err != nil {
				t.Errorf("after %d bytes: %v", n, err)
				return
			}
			for i, x := range got[:k] {
				if x != pattern(n+i) {
					t.Errorf("byte %d is %#x, want %#x", n+i, x, pattern(n+i))
					return
				}
			}
			n += k
		}
	})
	e.send(patternBytes(total))
	if !e.sendPending {
		t.Error("Send took 6 MiB with a buffer of 4 KiB")
	}
	turnUntil(t, d, "all bytes", func() bool { return e.received == total && e.sent == total || t.Failed() })
	wg.Wait()
}

// A peer that does not read blocks the sender, whose memory the kernel keeps using; when the
// peer reads again, it receives everything.
func TestReaderStalls(t *testing.T) {
	const total = 4 << 20
	d := open(t)
	e, c := pair(t, d, sock.WriteBuffer(8<<10))
	e.send(patternBytes(total))
	if !e.sendPending || e.sent == total {
		t.Fatal("the send has not blocked")
	}
	for range 5 {
		d.Turn(10 * time.Millisecond)
	}
	before := e.sent
	d.Turn(50 * time.Millisecond)
	if e.sent == total || before == total {
		t.Error("everything was sent to a peer that does not read")
	}
	if conn := d.connOf(&e.Stream); conn.send == nil || len(conn.held) == 0 {
		t.Error("no send is in flight")
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		got := make([]byte, total)
		if _, err := io.ReadFull(c, got); err != nil {
			t.Error(err)
		}
		for i, x := range got {
			if x != pattern(i) {
				t.Errorf("byte %d is %#x, want %#x", i, x, pattern(i))
				return
			}
		}
	})
	turnUntil(t, d, "the last Sent", func() bool { return e.sent == total })
	wg.Wait()
}

// Release during a send: Released comes when the kernel no longer uses the memory, and no other
// upcall comes.
func TestReleaseDuringSend(t *testing.T) {
	t.Run("send", func(t *testing.T) { releaseDuringSend(t, false) })
	t.Run("send and receive", func(t *testing.T) { releaseDuringSend(t, true) })
}

func releaseDuringSend(t *testing.T, both bool) {
	d := open(t)
	e, _ := pair(t, d, sock.WriteBuffer(8<<10))
	if both {
		d.Resume(&e.Stream)
		d.Turn(0)
	}
	e.send(patternBytes(4 << 20))
	c := d.connOf(&e.Stream)
	if c.send == nil || both && c.receive.state != inFlight {
		t.Fatal("nothing is in flight")
	}
	d.Release(&e.Stream)
	if len(c.held) == 0 {
		t.Error("Release dropped the memory of a send in flight")
	}
	if e.released != 0 {
		t.Error("Released came from Release")
	}
	d.Release(&e.Stream) // a second call does nothing
	turnUntil(t, d, "Released", func() bool { return e.released == 1 })
	if c.s != nil || len(c.held) != 0 {
		t.Error("the driver keeps state of the stream after Released")
	}
}

// Cancellation races with completion: in either order, Released comes once, after both, and no
// byte comes after Release.
func TestCancelAgainstCompletion(t *testing.T) {
	d := open(t)
	l := listen(t, d)
	for i := range 150 {
		c := dial(t, l)
		turnUntil(t, d, "Accepted", func() bool { return len(l.accepted) == i+1 })
		e := l.accepted[i]
		conn := d.connOf(&e.Stream)
		if i%3 == 0 {
			conn.quick = busyAfter // so that a receive with a buffer is cancelled
		}
		d.Resume(&e.Stream)
		d.Turn(0)
		c.Write(patternBytes(100))
		if i%2 == 0 {
			c.Close()
		}
		for range i % 5 {
			runtime.Gosched()
		}
		d.Release(&e.Stream)
		if i%7 != 0 {
			turnUntil(t, d, "Released", func() bool { return e.released == 1 })
		}
		c.Close()
	}
	turnUntil(t, d, "Released", func() bool { return allReleased(l.accepted) })
	if n := d.memory.allocated - len(d.memory.buffers); n != 0 {
		t.Errorf("%d buffers are lost", n)
	}
}

// An idle connection has no buffer; a busy one gets one, gives it back when it becomes idle, and
// goes on to receive.
func TestOnlyBusyStreamsHaveBuffers(t *testing.T) {
	d := open(t)
	e, c := pair(t, d)
	e.raw = true
	d.Resume(&e.Stream)
	conn := d.connOf(&e.Stream)
	pings := func(n int) {
		t.Helper()
		for range n {
			want := e.received + 5
			c.Write([]byte("hello"))
			turnUntil(t, d, "hello", func() bool { return e.received == want })
		}
	}
	d.Turn(0)
	if conn.buffer != nil || conn.receive.state != inFlight {
		t.Fatal("an idle connection has a buffer, or no receive in flight")
	}
	pings(1000) // the system decides how often a receive completes by the next turn
	conn.quick = busyAfter
	pings(3)
	if conn.buffer == nil || d.lent.head != conn {
		t.Fatal("a busy connection has no buffer")
	}
	turnUntil(t, d, "the buffer's return", func() bool { return conn.buffer == nil })
	if d.lent.head != nil || conn.quick != 0 {
		t.Error("an idle connection still counts as busy")
	}
	if left := d.submit(-1); left >= 0 {
		t.Errorf("an idle driver would wake up after %v", left)
	}
	if conn.receive.state != inFlight {
		t.Error("no receive is in flight")
	}
	pings(3)
	// More data than a buffer holds.
	conn.quick = busyAfter
	pings(2)
	big := make([]byte, 5*bufferBytes+1)
	go c.Write(big)
	want := e.received + len(big)
	turnUntil(t, d, "all of it", func() bool { return e.received == want })
	conn.quick = busyAfter
	pings(2)
	c.CloseWrite()
	turnUntil(t, d, "the end", func() bool { return e.receiveEnded == 1 })
	if e.endErr != io.EOF || conn.buffer != nil {
		t.Errorf("ReceiveEnded(%v), and a buffer of %d bytes is left", e.endErr, len(conn.buffer))
	}
}

// The number of buffers is limited; a stream that gets none works without.
func TestBuffersAreBounded(t *testing.T) {
	var m memory
	defer m.release()
	seen := map[*byte]bool{}
	for range maxBuffers {
		b := m.getBuffer(bufferBytes)
		if len(b) != bufferBytes || seen[&b[0]] {
			t.Fatal("a buffer is too short, or was returned twice")
		}
		seen[&b[0]] = true
	}
	if m.getBuffer(bufferBytes) != nil {
		t.Errorf("getBuffer returned more than %d buffers", maxBuffers)
	}
	d := open(t)
	d.memory.allocated = maxBuffers
	e, c := pair(t, d)
	e.raw = true
	d.connOf(&e.Stream).quick = busyAfter
	d.Resume(&e.Stream)
	c.Write([]byte("hello"))
	turnUntil(t, d, "hello", func() bool { return e.received == 5 })
	d.memory.allocated = 0
}

// After Pause at most one more buffer of data comes, until Resume; nothing is lost.
func TestPause(t *testing.T) {
	const total = 2 << 20
	d := open(t)
	e, c := pair(t, d)
	go c.Write(patternBytes(total))
	for range 3 {
		d.Turn(20 * time.Millisecond)
	}
	if e.received != 0 {
		t.Error("received before the first Resume")
	}
	for e.received < total {
		before := e.received
		e.stopAt = before + 1
		d.Resume(&e.Stream)
		turnUntil(t, d, "more", func() bool { return e.received > before })
		at := e.received
		for range 3 {
			d.Turn(time.Millisecond)
		}
		if e.received-at > driver.MaxLateBytes {
			t.Fatalf("%d bytes came after Pause", e.received-at)
		}
	}
}

// One stream uses up its budget, then other streams get their turn.
func TestBudget(t *testing.T) {
	d := open(t)
	const budget, scratch = 10 << 10, 4 << 10
	d.Budget = budget
	d.scratch = d.scratch[:scratch]
	a, ca := pair(t, d)
	b, cb := pair(t, d)
	most := 0
	last := 0
	a.onReceived = func(b []byte) {
		most = max(most, a.received-last)
		if len(b) > scratch {
			t.Errorf("%d bytes in one receive", len(b))
		}
	}
	go ca.Write(patternBytes(1 << 20))
	go cb.Write(patternBytes(1 << 20))
	d.Resume(&a.Stream)
	d.Resume(&b.Stream)
	d.connOf(&a.Stream).quick = busyAfter
	turnUntil(t, d, "all", func() bool {
		last = a.received
		return a.received == 1<<20 && b.received == 1<<20
	})
	if most > budget+scratch {
		t.Errorf("received %d bytes in one turn", most)
	}
}

// Thousands of connections: an idle one has no memory of its own, and all of them end.
func TestThousandsOfConnections(t *testing.T) {
	n := 1500
	if testing.Short() {
		n = 100
	}
	d := open(t)
	l := listen(t, d)
	l.onAccept = func(e *testStream) { d.Resume(&e.Stream) }
	clients := make([]*testStream, n)
	for i := range clients {
		clients[i] = connect(t, d, l.addr)
		if i%100 == 99 {
			d.Turn(0)
		}
	}
	turnUntil(t, d, "all connections", func() bool {
		for _, e := range clients {
			if e.connected == 0 {
				return false
			}
		}
		return len(l.accepted) == n
	})
	for i, e := range clients {
		if e.connectErr != nil {
			t.Fatalf("connection %d: %v", i, e.connectErr)
		}
	}
	d.Turn(0)
	if d.memory.allocated != len(d.memory.buffers) {
		t.Errorf("idle connections have %d buffers", d.memory.allocated-len(d.memory.buffers))
	}
	for _, e := range clients {
		e.send(patternBytes(10))
	}
	turnUntil(t, d, "a message on each", func() bool {
		for _, e := range l.accepted {
			if e.received != 10 {
				return false
			}
		}
		return true
	})
	for _, e := range clients {
		d.Release(&e.Stream)
	}
	turnUntil(t, d, "all ends", func() bool {
		for _, e := range l.accepted {
			if e.receiveEnded != 1 {
				return false
			}
		}
		return allReleased(clients)
	})
}

// connect starts to connect, as a loop does.
func connect(t *testing.T, d *Driver, to netip.AddrPort) *testStream {
	t.Helper()
	e := prepare(t, d, to)
	if err := d.Connect(&e.Stream); err != nil {
		t.Fatal(err)
	}
	return e
}

func prepare(t *testing.T, d *Driver, to netip.AddrPort) *testStream {
	t.Helper()
	e := newStream(t, d)
	stream.PrepareOnly(e)
	if err := sock.ConnectTCPInto(&e.Stream.Stream, to); err != nil {
		t.Fatal(err)
	}
	return e
}

// forEachConnect runs the test with ConnectEx, and with what replaces it where it is not available.
func forEachConnect(t *testing.T, test func(t *testing.T, d *Driver, connect func(e *testStream) error)) {
	t.Run("ConnectEx", func(t *testing.T) {
		d := open(t)
		test(t, d, func(e *testStream) error {
			err := d.Connect(&e.Stream)
			if c := d.connOf(&e.Stream); err == nil && c.receive.kind != connectOp && !c.connectDone {
				t.Error("no ConnectEx is in flight")
			}
			return err
		})
	})
	t.Run("AFD", func(t *testing.T) {
		d := open(t)
		test(t, d, func(e *testStream) error {
			if err := stream.Of(e).BeginConnect(); err != nil {
				return err
			}
			return d.awaitConnect(&e.Stream)
		})
	})
}

// Connecting succeeds, is refused, or is given up.
func TestConnect(t *testing.T) {
	forEachConnect(t, func(t *testing.T, d *Driver, connect func(e *testStream) error) {
		l := listen(t, d)
		well := prepare(t, d, l.addr)
		if err := connect(well); err != nil {
			t.Fatal(err)
		}
		d.Resume(&well.Stream) // before it is connected
		closed, err := sock.ListenTCP(loopback)
		if err != nil {
			t.Fatal(err)
		}
		refused := prepare(t, d, closed.Addr())
		closed.Close()
		if err = connect(refused); err == nil { // Connect itself may return the error
			turnUntil(t, d, "the refusal", func() bool { return refused.connected == 1 })
			err = refused.connectErr
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("connecting to a closed port: %v", err)
		}
		d.Release(&refused.Stream)
		given := prepare(t, d, l.addr)
		if err := connect(given); err != nil {
			t.Fatal(err)
		}
		d.Release(&given.Stream)
		turnUntil(t, d, "Connected", func() bool { return well.connected == 1 && given.released == 1 && len(l.accepted) > 0 })
		if well.connectErr != nil {
			t.Error(well.connectErr)
		}
		if given.connected != 0 {
			t.Error("Connected after Release")
		}
		// The socket is in the same state as after connect(2).
		if well.RemoteNetAddr() == nil || well.RemoteNetAddr().String() != l.addr.String() {
			t.Errorf("the peer is %v, want %v", well.RemoteNetAddr(), l.addr)
		}
		server := l.accepted[0]
		server.send(patternBytes(1000))
		turnUntil(t, d, "1,000 bytes", func() bool { return well.received == 1000 })
		if err := well.CloseWrite(); err != nil {
			t.Error(err)
		}
		d.Resume(&server.Stream)
		turnUntil(t, d, "the end", func() bool { return server.receiveEnded == 1 })
		d.Release(&well.Stream)
		turnUntil(t, d, "Released", func() bool { return well.released == 1 })
	})
}

// A connection may be reset as soon as it is established, by a listener that is closed with the
// connection in its backlog. Connecting succeeds or fails, and an error names the address.
func TestConnectToListenerThatCloses(t *testing.T) {
	forEachConnect(t, func(t *testing.T, d *Driver, connect func(e *testStream) error) {
		for i := range 150 {
			l := listen(t, d)
			if i%2 == 0 {
				d.Turn(0)
			}
			e := prepare(t, d, l.addr)
			var wg sync.WaitGroup
			wg.Go(func() {
				for range i % 10 {
					runtime.Gosched()
				}
				l.Close()
			})
			err := connect(e)
			if err == nil {
				turnUntil(t, d, "Connected", func() bool { return e.connected == 1 })
				err = e.connectErr
			}
			if err != nil && !strings.Contains(err.Error(), l.addr.String()) {
				t.Errorf("the error does not name the address %v: %v", l.addr, err)
			}
			wg.Wait()
			d.Unlisten(&l.Listener)
			d.Release(&e.Stream)
			turnUntil(t, d, "Released", func() bool { return e.released == 1 })
		}
	})
}

// A stream that belongs to another port is refused, and can be released.
func TestConnectOfOtherPort(t *testing.T) {
	d := open(t)
	port, e := sys.CreatePort()
	if e != 0 {
		t.Fatal(e)
	}
	defer sys.CloseHandle(port)
	l := listen(t, d)
	c := prepare(t, d, l.addr)
	fd, _ := handle.Of(c).Use()
	defer handle.Of(c).Done()
	if e := sys.JoinPort(fd, port, 1); e != 0 {
		t.Fatal(e)
	}
	if err := d.Connect(&c.Stream); !errors.Is(err, errOtherPort) {
		t.Errorf("Connect of a stream of another port: %v", err)
	}
	d.Release(&c.Stream)
	turnUntil(t, d, "Released", func() bool { return c.released == 1 })
}

// A stream that was never attached may be released.
func TestReleaseWithoutAttach(t *testing.T) {
	d := open(t)
	l := listen(t, d)
	e := newStream(t, d)
	if err := sock.ConnectTCPInto(&e.Stream.Stream, l.addr); err != nil {
		t.Fatal(err)
	}
	d.Release(&e.Stream)
	turnUntil(t, d, "Released", func() bool { return e.released == 1 })
	if err := e.Close(); !errors.Is(err, sock.ErrClosed) {
		t.Errorf("Release has not closed the stream: Close returned %v", err)
	}
}

// A detached stream is open and belongs to no driver; it can be used, and attached again where
// the system can remove it from the port.
func TestDetach(t *testing.T) {
	d := open(t)
	e, c := pair(t, d)
	d.Resume(&e.Stream)
	d.Turn(0)
	d.Pause(&e.Stream)
	d.Detach(&e.Stream)
	turnUntil(t, d, "Released", func() bool { return e.released == 1 })
	defer e.Close()
	c.Write([]byte("hello"))
	got := make([]byte, 5)
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		n, err := e.Read(got)
		if n == 5 && string(got) == "hello" {
			break
		}
		if err != sock.ErrWouldBlock || time.Now().After(end) {
			t.Fatalf("Read after Detach: %d bytes, %v", n, err)
		}
	}
	other := open(t)
	again := newStream(t, other)
	fd, err := e.Stream.Detach()
	if err != nil {
		t.Fatal(err)
	}
	handle.Of(again).Init(sys.FD(fd), handle.Of(e).Kind())
	err = other.Attach(&again.Stream)
	if err != nil && sys.OnWine() {
		if !errors.Is(err, errOtherPort) {
			t.Errorf("Attach to another driver: %v", err)
		}
		other.Release(&again.Stream)
		turnUntil(t, other, "Released", func() bool { return again.released == 1 })
		t.Skip("Wine cannot remove a socket from its port: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	other.Resume(&again.Stream)
	c.Write(patternBytes(5))
	turnUntil(t, other, "more", func() bool { return again.received == 5 })
	other.Release(&again.Stream)
	turnUntil(t, other, "Released", func() bool { return again.released == 1 })
}

// Wake-ups coalesce, and none is lost, even if it comes before the turn.
func TestWake(t *testing.T) {
	d := open(t)
	for range 3 * maxBatch {
		if err := d.Wake(); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	d.Turn(patience)
	if n, _ := d.takeCompletions(0); n != 0 {
		t.Errorf("%d packets are left of coalesced wake-ups", n)
	}
	for range 200 {
		go d.Wake()
		d.Turn(patience)
	}
	if time.Since(start) > patience/2 {
		t.Error("a wake-up was lost")
	}
	if start = time.Now(); d.Turn(30*time.Millisecond) != nil || time.Since(start) > patience/2 {
		t.Error("a turn did not end after its timeout")
	}
}

// Completions that do not belong to the driver are ignored.
func TestForeignCompletion(t *testing.T) {
	d := open(t)
	port, _ := d.port.Use()
	defer d.port.Done()
	sys.PostPort(port, opKey)
	sys.PostPort(port, 77)
	if err := d.Turn(patience); err != nil || len(d.ended) != 0 {
		t.Errorf("Turn returned %v, with %d completions", err, len(d.ended))
	}
	e, _ := pair(t, d) // its op is idle
	if d.memory.find(uintptrOf(d.connOf(&e.Stream).receive)) != nil {
		t.Error("find returned an operation that is not in flight")
	}
}

type watcher struct {
	u      *sock.UDPSocket
	got    int
	events int
}

func (w *watcher) Ready(f selector.Flags) {
	w.events++
	var b [100]byte
	for f.Readable() {
		if _, _, err := w.u.ReadFrom(b[:]); err != nil {
			return
		}
		w.got++
	}
}

// The readiness of other sources is reported, on the same port.
func TestWatch(t *testing.T) {
	d := open(t)
	u, err := sock.ListenUDP(loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	w := &watcher{u: u}
	watch := driver.Watch{Source: u, Interest: selector.Readable, Up: w}
	if err := d.Watch(&watch); err != nil {
		t.Fatal(err)
	}
	if err := d.Watch(&driver.Watch{Source: u, Interest: selector.Readable, Up: w}); !errors.Is(err, pollux.ErrRegistered) {
		t.Errorf("a second Watch of the same source: %v", err)
	}
	peer, err := sock.ListenUDP(loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	for i := range 50 {
		if _, err := peer.WriteTo([]byte("x"), u.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		turnUntil(t, d, "the datagram", func() bool { return w.got == i+1 })
	}
	d.Unwatch(&watch)
	before := w.events
	peer.WriteTo([]byte("x"), u.LocalAddr())
	for range 3 {
		d.Turn(10 * time.Millisecond)
	}
	if w.events != before {
		t.Error("Ready after Unwatch")
	}
	for range 200 { // without a turn in between
		if err := d.Watch(&watch); err != nil {
			t.Fatal(err)
		}
		d.Unwatch(&watch)
	}
	if n, _ := d.takeCompletions(0); n > 100 {
		t.Errorf("%d polls of sources that are no longer watched have accumulated", n)
	}
}

// In the steady state an echo allocates nothing, however the driver waits.
func TestNothingIsAllocated(t *testing.T) {
	d := open(t)
	l := listen(t, d, sock.WriteBuffer(8<<10))
	client := connect(t, d, l.addr)
	turnUntil(t, d, "a connection", func() bool { return client.connected == 1 && len(l.accepted) == 1 })
	defer func() {
		d.Release(&client.Stream)
		turnUntil(t, d, "Released", func() bool { return client.released == 1 })
	}()
	server := l.accepted[0]
	server.raw, client.raw = true, true
	one := [][]byte{[]byte("x")}
	server.onReceived = func(b []byte) { d.Send(&server.Stream, one) }
	d.Resume(&server.Stream)
	d.Resume(&client.Stream)
	echo := func() {
		want := client.received + 1
		d.Send(&client.Stream, one)
		for client.received < want {
			d.Turn(patience)
		}
	}
	for range 100 {
		echo()
	}
	if n := testing.AllocsPerRun(300, echo); n != 0 {
		t.Errorf("%v allocations for each echo", n)
	}

	// More than the kernel takes immediately, so that sends are overlapped.
	server.onReceived = nil
	big, stalls := make([]byte, 256<<10), 0
	parts := make([][]byte, 1)
	large := func() {
		want := client.received + len(big)
		for server.out = big; len(server.out) > 0; {
			parts[0] = server.out
			n, err := d.Send(&server.Stream, parts)
			if err != nil {
				t.Fatal(err)
			}
			server.out = server.out[n:]
			for server.sendPending = len(server.out) > 0; server.sendPending; {
				stalls++
				d.Turn(patience)
			}
		}
		for client.received < want {
			d.Turn(patience)
		}
	}
	server.noFlush = true
	large()
	if n := testing.AllocsPerRun(20, large); n != 0 || stalls == 0 {
		t.Errorf("%v allocations for a large transfer, %d stalls", n, stalls)
	}
}

// Released comes for streams that are released while turns fail, unless they have operations in
// flight.
func TestReleasedWhileTurnsFail(t *testing.T) {
	d, err := Open(driver.Config{ScratchBytes: 4096, BudgetBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	d.port.Close()
	if err := d.Turn(0); err == nil {
		t.Fatal("Turn succeeded without a port")
	}
	e := &testStream{t: t, d: d}
	e.Up = e
	d.Release(&e.Stream)
	for range 3 {
		d.Turn(0)
	}
	if e.released != 1 {
		t.Errorf("Released came %d times, want once", e.released)
	}
}
