package uring

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/conformance"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

// A turn submits more than the submission queue holds, before the ring is enabled and after.
func TestFullSubmissionQueue(t *testing.T) {
	b := newBench(t, small)
	all := b.connect(50) // 50 polls, before the first turn
	for i, s := range all {
		b.Resume(&s.Stream)
		if n, err := b.Send(&s.Stream, [][]byte{pattern(byte(i), 1000), pattern(byte(i+1), 1000)}); n != 0 || err != nil {
			t.Fatal(n, err)
		}
	}
	if len(b.queuedSQEs) == 0 && b.ring.Pending() == 0 {
		t.Error("no submission is left for the turn")
	}
	for i, s := range all {
		b.until(func() bool { return s.sent == 2000 })
		got := make([]byte, 2000)
		if _, err := io.ReadFull(s.peer, got); err != nil || !bytes.Equal(got, append(pattern(byte(i), 1000), pattern(byte(i+1), 1000)...)) {
			t.Fatalf("stream %d: the peer's read returned %v, or other bytes than were sent", i, err)
		}
	}
	b.end(all...)
}

// More completions come than the completion queue holds: the kernel keeps them, and ends the
// multishot operations that would make more.
func TestCompletionOverflow(t *testing.T) {
	b := newBench(t, options{entries: 4, completions: 8, buffers: 128})
	all := b.connect(60)
	for i, s := range all {
		b.Resume(&s.Stream)
		if _, err := s.peer.Write(pattern(byte(i), 100)); err != nil {
			t.Fatal(err)
		}
	}
	b.applyChanges()
	if e := b.ring.Wait(time.Second); e != 0 {
		t.Fatal(e)
	}
	if first, end := b.ring.Ready(); end-first != 8 || b.ring.SQFlags()&sys.IORING_SQ_CQ_OVERFLOW == 0 {
		t.Errorf("%d completions, flags %x: the completion queue has not overflowed", end-first, b.ring.SQFlags())
	}
	for round := range 3 {
		for i, s := range all {
			b.until(func() bool { return len(s.in) == 100 })
			if !bytes.Equal(s.in, pattern(byte(i+round), 100)) {
				t.Fatalf("stream %d: received other bytes than were sent", i)
			}
			s.in = nil
		}
		for i, s := range all {
			if _, err := s.peer.Write(pattern(byte(i+round+1), 100)); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.end(all...)
}

// There are far fewer buffers than receiving streams.
func TestFewBuffers(t *testing.T) {
	b := newBench(t, options{entries: 64, completions: 256, buffers: 2})
	all := b.connect(32)
	const size = 100 << 10
	for i, s := range all {
		b.Resume(&s.Stream)
		s.write(pattern(byte(i), size))
	}
	for i, s := range all {
		b.until(func() bool { return len(s.in) >= size })
		if !bytes.Equal(s.in, pattern(byte(i), size)) {
			t.Fatalf("stream %d: received other bytes than were sent", i)
		}
	}
	b.end(all...)
}

// Pause and Resume come at any time, against completions and each other's cancellations. Data
// that arrives while a stream is paused is held; nothing is lost or reordered.
func TestPauseAgainstCompletion(t *testing.T) {
	b := newBench(t, options{entries: 16, completions: 64, buffers: 8})
	const size = 2 << 20
	all := b.connect(4)
	random := rand.New(rand.NewPCG(1, 2))
	for i, s := range all {
		s.onData = func([]byte) bool {
			if s.Flags&receiving == 0 {
				t.Error("received while paused")
			}
			return random.IntN(5) > 0 // false pauses
		}
		s.write(pattern(byte(i), size))
	}
	for left := len(all); left > 0; {
		left = 0
		for i, s := range all {
			if len(s.in) < size {
				left++
			} else if !bytes.Equal(s.in, pattern(byte(i), size)) {
				t.Fatalf("stream %d: received other bytes than were sent", i)
			}
			switch random.IntN(4) {
			case 0:
				b.Pause(&s.Stream)
			case 1:
				b.Resume(&s.Stream)
			case 2:
				b.Pause(&s.Stream)
				b.Resume(&s.Stream)
			}
		}
		if err := b.Turn(0); err != nil {
			t.Fatal(err)
		}
	}
	b.end(all...)
}

// While few buffers are left because a paused stream holds some, other streams still receive.
func TestLateBuffer(t *testing.T) {
	b := newBench(t, options{entries: 16, completions: 64, buffers: 8})
	all := b.connect(2)
	paused, other := all[0], all[1]
	const size = 8 * testBuffer
	want := pattern(1, size)
	paused.onData = func([]byte) bool { return false }
	b.Resume(&paused.Stream)
	paused.write(want)
	b.until(func() bool { return paused.calls == 1 })
	b.turnUntilQuiet(paused)
	if paused.calls != 1 {
		t.Fatalf("Received was called %d times, want once: the stream is paused", paused.calls)
	}
	if b.buffers.held > b.buffers.Len()/2 {
		t.Errorf("%d of %d buffers are held for a paused stream", b.buffers.held, b.buffers.Len())
	}
	b.Resume(&other.Stream)
	other.write(pattern(2, 4<<20))
	b.until(func() bool { return len(other.in) == 4<<20 })
	if !bytes.Equal(other.in, pattern(2, 4<<20)) {
		t.Error("the other stream received other bytes than were sent")
	}
	paused.onData = nil
	b.Resume(&paused.Stream)
	b.until(func() bool { return len(paused.in) >= size })
	if !bytes.Equal(paused.in, want) {
		t.Error("the held bytes have changed")
	}
	b.end(all...)
}

// endIsThere reports whether the last completion is the end of a stream.
func (b *bench) endIsThere() bool {
	first, end := b.ring.Ready()
	return first != end && b.ring.At(end-1).Res == 0
}

// Held data beyond half of the buffers moves to memory of the stream's own, and the end of the
// stream stays behind it.
func TestSpill(t *testing.T) {
	b := newBench(t, options{entries: 16, completions: 64, buffers: 8})
	s := b.connect(1)[0]
	b.Resume(&s.Stream)
	b.until(func() bool { return s.Flags&armed != 0 })
	want := pattern(3, 7*testBuffer)
	if _, err := s.peer.Write(want); err != nil {
		t.Fatal(err)
	}
	s.peer.(*net.TCPConn).CloseWrite()
	for !b.endIsThere() {
		if e := b.ring.Wait(time.Second); e != 0 { // as if a turn did not handle the completions
			t.Fatal(e)
		}
	}
	b.Pause(&s.Stream)
	b.turnUntilQuiet(s)
	if x := b.slots.At(s.Index); x.rare == nil || x.end != 0 || s.calls != 0 {
		t.Errorf("the data was not spilled: %d calls, slot %+v", s.calls, x)
	}
	b.Resume(&s.Stream)
	b.until(func() bool { return s.end != nil })
	if !bytes.Equal(s.in, want) || s.end != io.EOF {
		t.Errorf("received %d bytes of %d, then %v", len(s.in), len(want), s.end)
	}
	if s.most > testBudget {
		t.Errorf("%d bytes in a turn; the budget is %d", s.most, testBudget)
	}
	b.end(s)
}

// receivedBytes returns how many bytes the unhandled completions have received.
func (b *bench) receivedBytes() (n int) {
	first, end := b.ring.Ready()
	for i := first; i != end; i++ {
		n += int(max(b.ring.At(i).Res, 0))
	}
	return n
}

// A receive into several buffers completes for a stream that is released: in the upcall of the
// first buffer, or before. All buffers go back to the kernel.
func TestBuffersOfReleased(t *testing.T) {
	b := newBench(t, options{entries: 16, completions: 64, buffers: 8})
	if !b.bundles {
		t.Skip("this kernel fills one buffer a receive (before Linux 6.10)")
	}
	for round := range 8 {
		s := b.connect(1)[0]
		if round%2 == 0 {
			s.onData = func([]byte) bool {
				b.Release(&s.Stream)
				return false
			}
		}
		b.Resume(&s.Stream)
		b.until(func() bool { return s.Flags&armed != 0 })
		if _, err := s.peer.Write(pattern(1, 7*testBuffer)); err != nil {
			t.Fatal(err)
		}
		for b.receivedBytes() < 7*testBuffer {
			if e := b.ring.Wait(time.Second); e != 0 { // as if a turn did not handle the completions
				t.Fatalf("round %d: received %d bytes, then %v: buffers are missing", round, b.receivedBytes(), e)
			}
		}
		if round%2 == 1 {
			b.Release(&s.Stream)
		}
		b.until(func() bool { return s.released })
		s.peer.Close()
	}
}

// The data of one receive is delivered in as few calls as the budget allows.
func TestDeliveriesAreLarge(t *testing.T) {
	b := newBench(t, options{entries: 16, completions: 64, buffers: 16})
	if !b.bundles {
		t.Skip("this kernel fills one buffer a receive (before Linux 6.10)")
	}
	s := b.connect(1)[0]
	b.Resume(&s.Stream)
	b.until(func() bool { return s.Flags&armed != 0 })
	var sizes []int
	s.onData = func(p []byte) bool {
		sizes = append(sizes, len(p))
		return true
	}
	const size = testBudget + testBudget/2
	want := pattern(1, size)
	if _, err := s.peer.Write(want); err != nil {
		t.Fatal(err)
	}
	for b.receivedBytes() < size {
		if e := b.ring.Wait(time.Second); e != 0 { // as if a turn did not handle the completions
			t.Fatal(e)
		}
	}
	b.until(func() bool { return len(s.in) == size })
	if !bytes.Equal(s.in, want) {
		t.Error("received other bytes than were sent")
	}
	if sizes[0] != testBudget {
		t.Errorf("calls of Received with %d bytes; the first may have %d", sizes, testBudget)
	}
	b.end(s)
}

// A busy stream does not exceed its budget, and a quiet one gets its turn.
func TestBudget(t *testing.T) {
	b := newBench(t, options{entries: 16, completions: 256, buffers: 64})
	all := b.connect(2)
	busy, quiet := all[0], all[1]
	b.Resume(&busy.Stream)
	b.Resume(&quiet.Stream)
	const size = 4 << 20
	busy.write(pattern(1, size))
	answered := 0
	quiet.onData = func([]byte) bool { answered++; return true }
	busy.onData = func([]byte) bool {
		if len(busy.in) > size/4*(answered+1) && answered < 3 {
			quiet.peer.Write([]byte{1})
		}
		return true
	}
	b.until(func() bool { return len(busy.in) == size })
	// It may exceed the budget by one buffer.
	if busy.most > testBudget+testBuffer {
		t.Errorf("%d bytes in a turn; the budget is %d", busy.most, testBudget)
	}
	if answered == 0 {
		t.Error("the quiet stream had no turn")
	}
	b.end(all...)
}

// A stream is released while the kernel uses its memory: Released comes when the kernel no
// longer does, and the descriptor is closed.
func TestReleaseDuringSend(t *testing.T) {
	b := newBench(t, defaults)
	s := b.connect(1)[0]
	b.Resume(&s.Stream)
	memory := pattern(0, 1<<20)
	for before := -1; s.sent != before || s.Flags&sending == 0; {
		if s.Flags&sending == 0 {
			if _, err := b.Send(&s.Stream, [][]byte{memory, memory}); err != nil {
				t.Fatal(err)
			}
		}
		before = s.sent
		for range 3 {
			b.Turn(time.Millisecond)
		}
	}
	b.Release(&s.Stream)
	if s.released {
		t.Fatal("Released was called while a send is in flight")
	}
	b.until(func() bool { return s.released })
	got, _ := io.Copy(io.Discard, s.peer)
	if got < int64(s.sent) {
		t.Errorf("the peer received %d bytes; Sent reported %d", got, s.sent)
	}
	s.peer.Close()
}

// Sends are short when the peer reads little; Sent reports how many bytes, and errors.
func TestShortSends(t *testing.T) {
	b := newBench(t, defaults)
	s := b.connect(1)[0]
	var got bytes.Buffer
	var reading sync.WaitGroup
	const size = 16 << 20
	reading.Add(1)
	go func() {
		defer reading.Done()
		io.CopyN(&got, s.peer, size)
	}()
	want := pattern(9, size)
	for s.sent < size {
		rest := want[s.sent:]
		n := s.sends
		if _, err := b.Send(&s.Stream, [][]byte{rest[:len(rest)/2], nil, rest[len(rest)/2:]}); err != nil {
			t.Fatal(err)
		}
		b.until(func() bool { return s.sends > n })
		if s.sendErr != nil {
			t.Fatal(s.sendErr)
		}
	}
	reading.Wait()
	if !bytes.Equal(got.Bytes(), want) {
		t.Error("the peer received other bytes than were sent")
	}
	if n, err := b.Send(&s.Stream, [][]byte{nil}); n != 0 || err != nil || s.Flags&sending != 0 {
		t.Errorf("sending nothing: %d, %v", n, err)
	}
	s.peer.(*net.TCPConn).SetLinger(0)
	s.peer.Close()
	for s.sendErr == nil {
		n := s.sends
		b.Send(&s.Stream, [][]byte{want[:1]})
		b.until(func() bool { return s.sends > n })
	}
	var op *net.OpError
	if !errors.As(s.sendErr, &op) || op.Op != "write" || op.Net != "tcp" || !errors.Is(op, syscall.ECONNRESET) && !errors.Is(op, syscall.EPIPE) {
		t.Errorf("after a reset, Sent reported %#v", s.sendErr)
	}
	b.end(s)
}

// Detach leaves the descriptor open, and unread data in the socket.
func TestDetach(t *testing.T) {
	b := newBench(t, defaults)
	s := b.connect(1)[0]
	b.Resume(&s.Stream)
	b.Turn(0)
	b.Detach(&s.Stream)
	b.until(func() bool { return s.released })
	if _, err := s.peer.Write([]byte("later")); err != nil {
		t.Fatal(err)
	}
	var p [16]byte
	for {
		n, err := s.Read(p[:])
		if err == sock.ErrWouldBlock {
			continue
		}
		if string(p[:n]) != "later" || err != nil {
			t.Errorf("Read after Detach: %q, %v", p[:n], err)
		}
		break
	}
	s.Close()
	s.peer.Close()
}

// Release works for a stream that was never attached, and for one that Attach refused.
func TestReleaseUnattached(t *testing.T) {
	b := newBench(t, defaults)
	s := &testStream{b: b}
	s.Up = s
	if err := sock.ConnectTCPInto(&s.Stream.Stream, b.ln.Addr().(*net.TCPAddr).AddrPort()); err != nil {
		t.Fatal(err)
	}
	closed := &testStream{b: b}
	closed.Up = closed
	if err := sock.ConnectTCPInto(&closed.Stream.Stream, b.ln.Addr().(*net.TCPAddr).AddrPort()); err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if err := b.Attach(&closed.Stream); !errors.Is(err, pollux.ErrSourceClosed) {
		t.Errorf("Attach of a closed stream: %v", err)
	}
	b.Release(&s.Stream)
	b.Release(&closed.Stream)
	b.until(func() bool { return s.released && closed.released })
	for range 2 {
		c, err := b.ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

// Connect is an operation of the ring, so nothing happens before the turn. If a kernel thread
// has only started to connect (EINPROGRESS), the driver awaits the end.
func TestConnectInRing(t *testing.T) {
	b := newBench(t, defaults)
	to := b.ln.Addr().(*net.TCPAddr).AddrPort()
	prepare := func() *testStream {
		s := &testStream{b: b}
		s.Up = s
		stream.PrepareOnly(s)
		if err := sock.ConnectTCPInto(&s.Stream.Stream, to); err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := prepare()
	if err := b.Connect(&s.Stream); err != nil {
		t.Fatal(err)
	}
	if at := s.LocalNetAddr().(*net.TCPAddr); at.Port != 0 {
		t.Errorf("Connect has already connected: the socket is bound to %v", at)
	}
	b.until(func() bool { return s.connected })
	if at := s.RemoteNetAddr(); at == nil || at.String() != to.String() {
		t.Errorf("the peer is %v, not %v", at, to)
	}
	begun := prepare()
	if err := b.Attach(&begun.Stream); err != nil {
		t.Fatal(err)
	}
	if err := stream.Of(begun).BeginConnect(); err != nil {
		t.Fatal(err)
	}
	begun.Flags |= connecting
	b.connected(&begun.Stream, syscall.EINPROGRESS)
	if begun.Flags&awaiting == 0 {
		t.Error("the driver does not await a connection attempt that has started")
	}
	b.until(func() bool { return begun.connected })
	if begun.Flags&(connecting|awaiting) != 0 {
		t.Errorf("after Connected, the flags are %#x", begun.Flags)
	}
	b.Release(&s.Stream)
	b.Release(&begun.Stream)
	b.until(func() bool { return s.released && begun.released })
}

// Connections that the accept of a paused listener has already taken wait, as if in the
// backlog; those that still wait when it is closed are reset.
func TestPauseAccept(t *testing.T) {
	b := newBench(t, defaults)
	l, ln := b.listen()
	l.onAccept = func() {
		if len(l.accepted) == 2 {
			b.PauseAccept(&l.Listener)
		}
	}
	var peers []net.Conn
	for range 6 {
		peers = append(peers, b.dial(ln))
	}
	b.until(func() bool { return len(l.accepted) == 2 })
	for range 5 {
		b.Turn(time.Millisecond)
	}
	if len(l.accepted) != 2 {
		t.Fatalf("%d accepted; it was paused after 2", len(l.accepted))
	}
	l.onAccept = func() {
		if len(l.accepted) == 4 {
			b.PauseAccept(&l.Listener)
		}
	}
	b.ResumeAccept(&l.Listener)
	b.until(func() bool { return len(l.accepted) == 4 })
	for i, s := range l.accepted {
		if err := b.Attach(&s.Stream); err != nil {
			t.Fatal(err)
		}
		b.Resume(&s.Stream)
		peers[i].Write([]byte{byte(i)})
		b.until(func() bool { return len(s.in) == 1 })
		if s.in[0] != byte(i) {
			t.Errorf("connection %d was accepted as number %d", s.in[0], i)
		}
		checkAccepted(t, s)
		s.peer = peers[i]
	}
	b.end(l.accepted...)
	b.Unlisten(&l.Listener)
	b.until(func() bool { return b.listeners.At(0) == nil })
	for _, c := range peers[4:] {
		c.SetReadDeadline(time.Now().Add(testkit.Watchdog))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("reading a connection that was not accepted: %v, want a reset", err)
		}
	}
	if len(l.accepted) != 4 || len(l.failed) > 0 {
		t.Errorf("%d accepted, failures %v", len(l.accepted), l.failed)
	}
}

// checkAccepted checks the flags of an accepted descriptor, and the option it inherits.
func checkAccepted(t *testing.T, s *testStream) {
	t.Helper()
	raw, _ := s.SyscallConn()
	raw.Control(func(fd uintptr) {
		status, _, _ := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0)
		flags, _, _ := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFD, 0)
		noDelay, _ := sys.GetInt(sys.FD(fd), sys.IPPROTO_TCP, sys.TCP_NODELAY)
		if status&syscall.O_NONBLOCK == 0 || flags&syscall.FD_CLOEXEC == 0 || noDelay == 0 {
			t.Errorf("accepted descriptor: status %x, flags %x, TCP_NODELAY %d", status, flags, noDelay)
		}
	})
}

// When the process is out of file descriptors, AcceptFailed comes once, and accepting is paused.
func TestAcceptFails(t *testing.T) {
	b := newBench(t, defaults)
	l, ln := b.listen() // nothing is submitted yet: the kernel reads the limit at submission
	c := b.dial(ln)
	restore := testkit.LimitDescriptors(t, 0)
	b.until(func() bool { return len(l.failed)+len(l.accepted) > 0 })
	for range 10 {
		b.Turn(time.Millisecond)
	}
	restore()
	if len(l.failed) != 1 || !errors.Is(l.failed[0], syscall.EMFILE) || len(l.accepted) != 0 {
		t.Fatalf("failures %v, %d accepted", l.failed, len(l.accepted))
	}
	b.ResumeAccept(&l.Listener)
	b.until(func() bool { return len(l.accepted) == 1 })
	l.accepted[0].peer = c
	b.end(l.accepted...)
	b.Unlisten(&l.Listener)
}

// A wake-up ends the current turn or the next one; several coalesce; Wake works after Close.
func TestWake(t *testing.T) {
	b := newBench(t, defaults)
	for range 100 {
		woken := make(chan struct{})
		go func() {
			for range 10 {
				b.Wake()
			}
			close(woken)
		}()
		if err := b.Turn(-1); err != nil {
			t.Fatal(err)
		}
		<-woken
		b.Turn(0)
	}
	b.Wake()
	b.Wake()
	b.Turn(-1)
	began := time.Now()
	b.Turn(20 * time.Millisecond)
	if d := time.Since(began); d < 20*time.Millisecond {
		t.Errorf("two wake-ups have not coalesced: a turn of 20 ms took %v", d)
	}
	b.Driver.Close()
	if err := b.Wake(); err != nil {
		t.Error(err)
	}
	d, err := open(driver.Config{ScratchBytes: testBuffer, BudgetBytes: testBudget}, defaults)
	if err != nil {
		t.Fatal(err)
	}
	b.Driver = d // is closed without a turn
}

// With BusyPoll, a turn lasts as long as without, and can be woken.
func TestBusyPoll(t *testing.T) {
	b := newBench(t, defaults)
	b.sleep.Init(2*time.Millisecond, false)
	began := time.Now()
	b.Turn(5 * time.Millisecond)
	if d := time.Since(began); d < 5*time.Millisecond {
		t.Errorf("a turn of 5 ms took %v", d)
	}
	s := b.connect(1)[0]
	b.Resume(&s.Stream)
	b.Turn(0)
	s.write([]byte("x"))
	b.until(func() bool { return len(s.in) == 1 })
	time.AfterFunc(time.Millisecond, func() { b.Wake() })
	b.Turn(-1)
	b.end(s)
}

type watch struct {
	driver.Watch
	events []selector.Flags
}

func (w *watch) Ready(f selector.Flags) { w.events = append(w.events, f) }

// Sources that are not streams are watched until Unwatch; no event comes after it.
func TestWatch(t *testing.T) {
	b := newBench(t, defaults)
	r, w, err := sock.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	x := &watch{}
	x.Source, x.Interest, x.Up = r, selector.Readable, x
	if err := b.Driver.Watch(&x.Watch); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		w.Write([]byte("x"))
		b.until(func() bool { return len(x.events) > i })
		if !x.events[i].Readable() || x.events[i].Writable() {
			t.Errorf("event %v", x.events[i])
		}
	}
	w.Write([]byte("x"))
	b.Unwatch(&x.Watch)
	for range 5 {
		b.Turn(time.Millisecond)
	}
	if len(x.events) != 3 {
		t.Errorf("events after Unwatch: %v", x.events)
	}
	file, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	raw, err := sock.FromFD(file.Fd())
	if err == nil {
		x.Source = raw
		if err := b.Driver.Watch(&x.Watch); !errors.Is(err, pollux.ErrNotPollable) {
			t.Errorf("Watch of a regular file: %v", err)
		}
		raw.Detach()
	}
	r.Close()
	w.Close()
	x.Source = r
	if err := b.Driver.Watch(&x.Watch); !errors.Is(err, pollux.ErrSourceClosed) {
		t.Errorf("Watch of a closed source: %v", err)
	}
}

// The errors of a kernel that refuses io_uring name the cause.
func TestSetupErrors(t *testing.T) {
	for e, want := range map[syscall.Errno]string{
		syscall.ENOSYS: "without io_uring", syscall.EPERM: "kernel.io_uring_disabled", syscall.EINVAL: "Linux 6.0", syscall.ENOMEM: "ulimit -l",
	} {
		if err := setupError(e); !errors.Is(err, e) || !strings.Contains(err.Error(), want) {
			t.Errorf("setupError(%v): %v", e, err)
		}
	}
}

// TestConformanceOfOldKernels runs the suite without the features that are newer than Linux
// 6.0: DEFER_TASKRUN (6.1), datagram sends with an address (6.1), receives into several
// buffers (6.10), and receive limits (6.17).
func TestConformanceOfOldKernels(t *testing.T) {
	if err := Probe(); err != nil {
		t.Skip("uring is not usable here: ", err)
	}
	all := setups
	setups = setups[1:]
	t.Cleanup(func() { setups = all })
	conformance.Run(t, func(t *testing.T, c driver.Config) driver.Driver {
		o := defaults
		o.noBundles = true
		d, err := open(c, o)
		if err != nil {
			t.Fatal(err)
		}
		d.has = features{}
		return d
	})
}

// One message there and back allocates nothing in the steady state.
func TestAllocations(t *testing.T) {
	b := newBench(t, defaults)
	s := b.connect(1)[0]
	b.Resume(&s.Stream)
	message, bufs := make([]byte, 64), [][]byte{nil}
	vectored := [][]byte{message[:32], message[32:]}
	s.in = make([]byte, 0, 64)
	echo := func() {
		for _, v := range [][][]byte{bufs, vectored} {
			bufs[0] = message
			s.in = s.in[:0]
			if _, err := s.peer.Write(message); err != nil {
				t.Fatal(err)
			}
			for len(s.in) < 64 {
				b.Turn(time.Second)
			}
			b.Send(&s.Stream, v)
			for s.Flags&sending != 0 {
				b.Turn(time.Second)
			}
			if _, err := io.ReadFull(s.peer, message); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 300 { // uses every buffer once
		echo()
	}
	if n := testing.AllocsPerRun(500, echo); n > 0 {
		t.Errorf("%v allocations for one message there and back", n)
	}
	b.end(s)
}

// A stream that found no buffer receives again even if more streams than there are buffers wait
// for one, and none of those has data.
func TestFewBuffersForMany(t *testing.T) {
	b := newBench(t, options{entries: 64, completions: 128, buffers: 4})
	all := b.connect(14)
	hog, last := all[0], all[13]
	data := pattern(1, 4*testBuffer)
	if _, err := hog.peer.Write(data); err != nil {
		t.Fatal(err)
	}
	want := pattern(2, 100)
	if _, err := last.peer.Write(want); err != nil {
		t.Fatal(err)
	}
	hog.awaitUnread(len(data))
	last.awaitUnread(len(want))
	for _, s := range all {
		b.Resume(&s.Stream)
	}
	b.until(func() bool { return bytes.Equal(last.in, want) })
	b.end(all...)
}

// Detach during the delivery of the last completion of a receive, which filled several buffers:
// the rest is delivered before Released. The kernel ends a multishot if the completion queue is
// full.
func TestDetachInLastBundle(t *testing.T) {
	b := newBench(t, options{entries: 8, completions: 8, buffers: 16})
	all := b.connect(10)
	s := all[9]
	for _, o := range all[:9] {
		o.peer.Write([]byte("x"))
	}
	data := pattern(1, 6*testBuffer)
	s.peer.Write(data)
	for _, o := range all[:9] {
		o.awaitUnread(1)
	}
	s.awaitUnread(len(data))
	first := true
	s.onData = func(p []byte) bool {
		if first {
			first = false
			b.Detach(&s.Stream)
		}
		return false
	}
	for _, o := range all {
		b.Resume(&o.Stream)
	}
	b.until(func() bool { return s.released })
	rest := make([]byte, len(data))
	n, _ := s.Read(rest)
	got := append(append([]byte{}, s.in...), rest[:n]...)
	if !bytes.Equal(got, data) {
		t.Errorf("bytes are lost: of %d, %d were received and %d are left in the socket", len(data), len(s.in), n)
	}
	s.Close()
	s.peer.Close()
	b.end(all[:9]...)
}

// A driver without a turn has submitted nothing, so Close waits for nothing.
func TestCloseBeforeTheFirstTurn(t *testing.T) {
	before := testkit.CountUsage()
	d, err := open(driver.Config{ScratchBytes: testBuffer, BudgetBytes: testBudget}, defaults)
	if err != nil {
		t.Fatal(err)
	}
	u, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	p := &driver.PacketSocket{UDPSocket: u, Up: noPackets{t}}
	if err := d.Bind(p); err != nil {
		t.Fatal(err)
	}
	d.Unbind(p)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	before.Check(t)
}
