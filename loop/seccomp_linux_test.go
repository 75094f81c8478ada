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
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// The numbers of io_uring's system calls on all architectures that Go supports.
const (
	uringSetup    = 425
	uringEnter    = 426
	uringRegister = 427
)

// If a seccomp(2) filter denies a system call of io_uring, the error names seccomp and the call,
// and does not ask for a newer kernel.
func TestUringDeniedBySeccomp(t *testing.T) {
	skipOnSimulation(t, "the system calls of the kernel fail")
	requireUring(t)
	for what, call := range map[string]uint32{"io_uring_setup": uringSetup, "io_uring_enter": uringEnter, "io_uring_register": uringRegister} {
		t.Run(what, func(t *testing.T) {
			if !testkit.InChild(t) {
				return
			}
			runtime.LockOSThread() // the probe runs on this thread
			deny(t, call)
			for _, b := range loop.Backends() {
				if b.Name == "uring" && (b.Usable || !strings.Contains(b.Why, what) || !strings.Contains(b.Why, "seccomp") || strings.Contains(b.Why, "is needed")) {
					t.Errorf("Usable = %v, Why = %q, want false, and %s and seccomp in it", b.Usable, b.Why, what)
				}
			}
		})
	}
}

// Being out of memory once must not disable io_uring permanently.
func TestUringAfterOutOfMemory(t *testing.T) {
	skipOnSimulation(t, "the system calls of the kernel fail")
	if testkit.Race {
		t.Skip("the race detector ends a process that is out of memory")
	}
	requireUring(t)
	if !testkit.InChild(t) {
		return
	}
	t.Setenv(pollux.BackendEnv, "uring")
	startThreads(16) // on a busy machine the runtime needs more than it has, and ends the process if it cannot start one
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
		t.Skip("NewGroup succeeded despite the limit on memory")
	}
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		t.Fatalf("NewGroup with enough memory again: %v", err)
	}
	g.Shutdown(context.Background())
}

// startThreads has the runtime start n threads, which it keeps for later.
func startThreads(n int) {
	var started, ended sync.WaitGroup
	started.Add(n)
	release := make(chan struct{})
	for range n {
		ended.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			started.Done()
			<-release
		})
	}
	started.Wait()
	close(release)
	ended.Wait()
}

// When the kernel begins to deny io_uring_enter, the loop ends and releases its resources,
// including its addresses.
func TestUringFailsWhileItRuns(t *testing.T) {
	skipOnSimulation(t, "the system calls of the kernel fail")
	requireUring(t)
	for what, connected := range map[string]bool{"with a connection": true, "without one": false} {
		t.Run(what, func(t *testing.T) {
			if testkit.InChild(t) {
				testUringFails(t, connected)
			}
		})
	}
}

func testUringFails(t *testing.T, connected bool) {
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
		if !testkit.Eventually(func() bool { return g.Conns() == 0 }) {
			t.Fatalf("%d connections are left", g.Conns())
		}
	}
	l.Run(func() { deny(t, uringEnter) }) // of the loop's thread only
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes from a loop that has failed, want an error", n)
	}
	waitLoopEnd(t, l)
	if g.Stats().Loops[0].Failed == nil {
		t.Error("Stats.Failed is nil after the driver has failed")
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

// waitAddressFree waits until an address can be bound: a ring holds its sockets until the kernel
// has released it.
func waitAddressFree(t *testing.T, a net.Addr, bind func(network, address string) (io.Closer, error)) {
	t.Helper()
	var err error
	if !testkit.Eventually(func() bool {
		var again io.Closer
		if again, err = bind(a.Network(), a.String()); err != nil {
			return false
		}
		again.Close()
		return true
	}) {
		t.Errorf("the address of a failed loop is still in use: %v", err)
	}
}

// requireUring skips the test if io_uring is not usable.
func requireUring(t *testing.T) {
	t.Helper()
	if testkit.IsChild() {
		return // Backends must not probe before the filter is installed
	}
	for _, b := range loop.Backends() {
		if b.Name == "uring" && !b.Usable {
			t.Skip("io_uring is not usable on this machine: ", b.Why)
		}
	}
}

// deny installs a seccomp(2) filter that makes a system call of the calling thread fail with
// EPERM, permanently.
func deny(t *testing.T, call uint32) {
	const (
		prSetNoNewPrivs = 38
		prSetSeccomp    = 22
		modeFilter      = 2

		loadWord = 0x20 // from struct seccomp_data, which begins with the number
		jumpIf   = 0x15
		ret      = 0x06
		allow    = 0x7fff0000
		refuse   = 0x00050000 | uint32(syscall.EPERM)
	)
	filter := []syscall.SockFilter{
		{Code: loadWord},
		{Code: jumpIf, Jf: 1, K: call},
		{Code: ret, K: refuse},
		{Code: ret, K: allow},
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

// When the kernel begins to deny poll(2), the loop and its connections end.
func TestPollFailsWhileItRuns(t *testing.T) {
	skipOnSimulation(t, "the system calls of the kernel fail")
	if !testkit.InChild(t) {
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
		runtime.LockOSThread() // the filter applies to the thread
		deny(t, syscall.SYS_PPOLL)
	})
	if why := receive(t, closed, "Closed"); !errors.Is(why, syscall.EPERM) {
		t.Errorf("Closed got %v, want EPERM", why)
	}
	waitLoopEnd(t, g.Loops()[0])
}
