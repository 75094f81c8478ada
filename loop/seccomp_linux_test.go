package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/selector/conformance"
	"github.com/pollux-io/pollux/loop"
)

// io_uring's system calls have these numbers on all systems that Go knows.
const (
	uringSetup    = 425
	uringEnter    = 426
	uringRegister = 427
)

// A filter of seccomp(2) that refuses a call of io_uring is said to be one; the kernel is
// new enough.
func TestUringRefusedBySeccomp(t *testing.T) {
	requireUring(t)
	for what, call := range map[string]uint32{"io_uring_setup": uringSetup, "io_uring_enter": uringEnter, "io_uring_register": uringRegister} {
		t.Run(what, func(t *testing.T) {
			if !conformance.InChild(t) {
				return
			}
			runtime.LockOSThread() // the probe runs on this thread
			deny(t, call)
			for _, b := range loop.Backends() {
				if b.Name == "uring" && (b.Usable || !strings.Contains(b.Why, what) || !strings.Contains(b.Why, "seccomp") || strings.Contains(b.Why, "is needed")) {
					t.Errorf("usable %v: %s", b.Usable, b.Why)
				}
			}
		})
	}
}

// Want of memory for a moment does not rule io_uring out for good.
func TestUringAfterWantOfMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector ends the process that gets no memory")
	}
	requireUring(t)
	if !conformance.InChild(t) {
		return
	}
	t.Setenv(pollux.BackendEnv, "uring")
	var pages uint64
	statm, err := os.ReadFile("/proc/self/statm")
	if err == nil {
		_, err = fmt.Sscan(string(statm), &pages)
	}
	if err != nil {
		t.Fatal(err)
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_AS, &old); err != nil {
		t.Fatal(err)
	}
	low := old
	low.Cur = pages * uint64(os.Getpagesize())
	syscall.Setrlimit(syscall.RLIMIT_AS, &low)
	_, err = loop.NewGroup(loop.Config{Loops: 1})
	syscall.Setrlimit(syscall.RLIMIT_AS, &old)
	if err == nil {
		t.Skip("there was memory all the same")
	}
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		t.Fatalf("there is memory again: %v", err)
	}
	g.Shutdown(context.Background())
}

// The kernel refuses io_uring_enter from some moment on: the loop ends, and gives back
// what it had, its addresses too.
func TestUringFailsWhileItRuns(t *testing.T) {
	requireUring(t)
	for what, connected := range map[string]bool{"with a connection": true, "without one": false} {
		t.Run(what, func(t *testing.T) {
			if conformance.InChild(t) {
				uringFails(t, connected)
			}
		})
	}
}

func uringFails(t *testing.T, connected bool) {
	t.Setenv(pollux.BackendEnv, "uring")
	g, err := loop.NewGroup(loop.Config{Loops: 1, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return echo{} })
	if err != nil {
		t.Fatal(err)
	}
	pl, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return packetBatchEcho{} })
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, ln.Addr())
	ping(t, c)
	pingPacket(t, pl.Addr())
	l := g.Loops()[0]
	if !connected {
		c.Close()
		for g.Conns() > 0 {
			time.Sleep(time.Millisecond)
		}
	}
	l.Run(func() { deny(t, uringEnter) }) // of the loop's thread only
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes of a loop that has ended", n)
	}
	waitLoopEnd(t, l)
	if g.Stats().Loops[0].Failed == nil {
		t.Error("Stats says nothing of it")
	}
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if err := g.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	c.Close()
	waitAddressFree(t, ln.Addr(), func(network, address string) (io.Closer, error) { return net.Listen(network, address) })
	waitAddressFree(t, pl.Addr(), func(network, address string) (io.Closer, error) { return net.ListenPacket(network, address) })
}

// waitAddressFree waits until an address is free: a ring holds its sockets until the kernel has
// cleared it away.
func waitAddressFree(t *testing.T, a net.Addr, bind func(network, address string) (io.Closer, error)) {
	t.Helper()
	for end := time.Now().Add(testTimeout); ; time.Sleep(time.Millisecond) {
		again, err := bind(a.Network(), a.String())
		if err == nil {
			again.Close()
			return
		}
		if time.Now().After(end) {
			t.Error(err)
			return
		}
	}
}

func requireUring(t *testing.T) {
	t.Helper()
	if conformance.IsChild() {
		return // and the child has asked nothing yet
	}
	for _, b := range loop.Backends() {
		if b.Name == "uring" && !b.Usable {
			t.Skip("io_uring cannot be used here: ", b.Why)
		}
	}
}

// deny has the calling thread's system call refused with EPERM, by a filter of seccomp(2),
// for good.
func deny(t *testing.T, call uint32) {
	const (
		prSetNoNewPrivs = 38
		prSetSeccomp    = 22
		modeFilter      = 2

		loadWord = 0x20 // of struct seccomp_data, which begins with the number
		jumpIf   = 0x15
		answer   = 0x06
		allow    = 0x7fff0000
		refuse   = 0x00050000 | uint32(syscall.EPERM)
	)
	filter := []syscall.SockFilter{
		{Code: loadWord},
		{Code: jumpIf, Jf: 1, K: call},
		{Code: answer, K: refuse},
		{Code: answer, K: allow},
	}
	program := syscall.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, e := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0, 0); e != 0 {
		t.Skip("prctl: ", e)
	}
	if _, _, e := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetSeccomp, modeFilter, uintptr(unsafe.Pointer(&program)), 0, 0, 0); e != 0 {
		t.Skip("seccomp: ", e)
	}
	runtime.KeepAlive(filter)
}

// The kernel refuses poll(2) from some moment on: the loop ends, and its connections with it.
func TestPollFailsWhileItRuns(t *testing.T) {
	if !conformance.InChild(t) {
		return
	}
	const prGetSeccomp = 21
	if _, _, e := syscall.RawSyscall(syscall.SYS_PRCTL, prGetSeccomp, 0, 0); e != 0 {
		t.Skip("seccomp: ", e) // qemu-user, and kernels without it
	}
	t.Setenv(pollux.BackendEnv, "poll")
	g, err := loop.NewGroup(loop.Config{Loops: 1, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler {
		return &funcs{data: echo{}.Data, closed: func(_ *loop.Conn, why error) { closed <- why }}
	})
	if err != nil {
		t.Fatal(err)
	}
	ping(t, dial(t, ln.Addr()))
	g.Loops()[0].Run(func() {
		runtime.LockOSThread() // for the filter is the thread's
		deny(t, syscall.SYS_PPOLL)
	})
	if why := receive(t, closed, "Closed"); !errors.Is(why, syscall.EPERM) {
		t.Errorf("Closed gets %v", why)
	}
	waitLoopEnd(t, g.Loops()[0])
}
