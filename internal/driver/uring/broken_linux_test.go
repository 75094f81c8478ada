package uring

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// A ring that has failed reports nothing more, not even completions in it of abandoned streams.
func TestBrokenRing(t *testing.T) {
	b := newBench(t, options{entries: 64, completions: 128, buffers: 8})
	s := b.connect(1)[0]
	b.Resume(&s.Stream)
	if err := b.Turn(0); err != nil {
		t.Fatal(err)
	}
	s.write(pattern(1, 100))
	b.awaitCompletion(t)
	b.Release(&s.Stream)
	b.failTurns(t)
	if !s.released {
		t.Error("the stream was not released")
	}
}

// The same for a datagram socket: completions in the ring are ignored after Unbind.
func TestBrokenRingOfPackets(t *testing.T) {
	b := newBench(t, options{entries: 64, completions: 128, buffers: 8})
	u, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	p := &driver.PacketSocket{UDPSocket: u, Up: noPackets{t}}
	if err := b.Bind(p); err != nil {
		t.Fatal(err)
	}
	if err := b.Turn(0); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("udp", u.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("hello"))
	b.awaitCompletion(t)
	b.Unbind(p)
	b.failTurns(t)
}

// The same for a listener: its address becomes free.
func TestBrokenRingOfListener(t *testing.T) {
	b := newBench(t, options{entries: 64, completions: 128, buffers: 8})
	l, ln := b.listen()
	if err := b.Turn(0); err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr()
	ln.StopListening()
	b.Unlisten(&l.Listener)
	b.failTurns(t)
	again, err := sock.ListenTCP(addr, sock.ReuseAddr(false))
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	for range b.listeners.All() {
		t.Error("the driver still has the listener and its descriptor")
	}
}

// awaitCompletion waits until the ring has a completion, without handling it.
func (b *bench) awaitCompletion(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !b.hasCompletions(); {
		if time.Now().After(end) {
			t.Fatal("no completion came")
		}
		b.ring.Submit(sys.IORING_ENTER_GETEVENTS)
		runtime.Gosched()
	}
}

// failTurns makes some turns fail.
func (b *bench) failTurns(t *testing.T) {
	t.Helper()
	broken := errors.New("broken")
	b.broken = broken
	for range 2 {
		if err := b.Turn(0); err != broken {
			t.Errorf("Turn: %v", err)
		}
	}
	b.broken = nil // so that Close handles the completions in the ring
}

type noPackets struct{ t *testing.T }

func (p noPackets) Packets(ms []sock.Message) { p.t.Errorf("%d packets after Unbind", len(ms)) }
func (p noPackets) Writable()                 { p.t.Error("Writable after Unbind") }
func (p noPackets) SendFailed(int, error)     { p.t.Error("SendFailed after Unbind") }
func (p noPackets) Released()                 {}

// Close unregisters the ring's descriptor from the thread, which goes back to Go's scheduler:
// the kernel keeps the ring descriptors that a thread has registered (io_uring_register(2)).
func TestThreadKeepsNoRing(t *testing.T) {
	if err := Probe(); err != nil {
		t.Skip(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const (
		enter          = 426 // io_uring_enter, on all systems that Go knows
		registeredRing = 1 << 4
		maxRings       = 16 // of a thread
	)
	isRegistered := func(i int) bool {
		_, _, e := syscall.RawSyscall6(enter, uintptr(i), 0, 0, registeredRing, 0, 0)
		return e != syscall.EBADF && e != syscall.EINVAL
	}
	if isRegistered(0) {
		t.Skip("the thread already has a registered ring")
	}
	d, err := open(driver.Config{ScratchBytes: testBuffer, BudgetBytes: testBudget}, defaults)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Turn(0); err != nil {
		t.Fatal(err)
	}
	if d.ring.IsRegistered() && !isRegistered(0) {
		t.Error("the ring in use is not found: this test detects nothing")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range maxRings {
		if isRegistered(i) {
			t.Errorf("ring %d is still registered after Close", i)
		}
	}
}
