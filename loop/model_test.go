package loop_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/selector/conformance"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// seedEnv names the one seed to run.
const seedEnv = "POLLUX_TEST_SEED"

// The promises hold together, whatever connections do. A seed draws a configuration,
// connections, what is written on them and how they end. Each callback is checked when it
// comes, and what has arrived when all is over. The scheduler is not drawn: to repeat what a
// seed has found may take a few runs (-count).
func TestModel(t *testing.T) {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close() // package net has its own descriptors from now on
	}
	first, n := 0, 20
	switch s := os.Getenv(seedEnv); {
	case s != "":
		var err error
		if first, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
		n = 1
	case conformance.Long():
		n = 300
	case raceEnabled || sys.OnWine():
		n = 8
	}
	for seed := first; seed < first+n; seed++ {
		if !t.Run(fmt.Sprint("seed", seed), func(t *testing.T) { newModel(t, uint64(seed)).run() }) {
			t.Fatalf("to repeat it: %s=%d", seedEnv, seed)
		}
	}
}

// model is a group and its connections.
type model struct {
	*rand.Rand
	t       *testing.T
	g       *loop.Group
	config  loop.Config
	network string
	early   bool // Shutdown comes in the middle, and cuts off
	crowd   bool // more connections are paused than io_uring's driver has buffers
	calm    bool // nothing but what the ends do ends a connection
	pairs   int
	most    int // bytes to send
	ends    []*end
}

// lockedSource is for several goroutines.
type lockedSource struct {
	mu sync.Mutex
	s  rand.Source
}

func (l *lockedSource) Uint64() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.s.Uint64()
}

func newRand(seed uint64) *rand.Rand {
	return rand.New(&lockedSource{s: rand.NewPCG(seed, 0)})
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func newModel(t *testing.T, seed uint64) *model {
	r := newRand(seed)
	high := pick(r, 1, 1000, 20_000, 64<<10, 256<<10)
	m := &model{Rand: r, t: t, network: pick(r, "tcp", "tcp", "unix"), early: r.IntN(5) == 0, pairs: 1 + r.IntN(30), most: 1_000_000}
	m.config = loop.Config{
		Loops: 1 + r.IntN(2), HighWatermark: high, LowWatermark: 1 + r.IntN(high), MaxUnsent: high + pick(r, 200, 1000, 1<<20),
		MaxUnread: pick(r, 1, 1000, 100_000, 1<<20), ReadBudget: pick(r, 1+r.IntN(100), 1000, 64<<10, 256<<10),
		LingerTimeout: pick(r, 20*time.Millisecond, 2*patience, 2*patience), MaxConns: pick(r, 0, 0, 0, 1+r.IntN(3)),
		IdleBuffers: pick(r, 1, 16<<20), BusyPoll: pick(r, 0, 0, 100*time.Microsecond), SlowCallback: -1, Logger: complainsTo(t, errModel.Error()),
	}
	if sys.OnWine() {
		m.network = "tcp"
	}
	if r.IntN(5) == 0 {
		m.crowd, m.pairs, m.most, m.config.MaxConns = true, 80, 100_000, 0
	}
	if m.config.ReadBudget < 1000 || high < 1000 {
		m.most = 20_000
	}
	m.calm = !m.early && m.config.LingerTimeout > patience
	return m
}

func (m *model) run() {
	t, goroutines, descriptors := m.t, runtime.NumGoroutine(), countDescriptors()
	m.g = group(t, m.config)
	shut := make(chan error, 1)
	shutdown := func(d time.Duration) {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		shut <- m.g.Shutdown(ctx)
	}
	if m.early {
		limit := time.Duration(m.IntN(20)) * time.Millisecond
		time.AfterFunc(time.Duration(m.IntN(20))*time.Millisecond, func() { shutdown(limit) })
	}
	for range m.pairs {
		m.connect()
	}
	if !m.early {
		m.await()
		shutdown(patience)
	}
	if err := receive(t, shut, "the end of Shutdown"); err != nil && !(m.early && errors.As(err, new(*loop.ShutdownError))) {
		t.Errorf("Shutdown: %v", err)
	}
	m.await()
	for _, a := range m.ends {
		a.check()
	}
	for end := time.Now().Add(patience); runtime.NumGoroutine() > goroutines || countDescriptors() > descriptors; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before; %d descriptors, %d before", runtime.NumGoroutine(), goroutines, countDescriptors(), descriptors)
		}
	}
}

// resets says that a peer can tell a reset from an end. Of a Unix socket, it cannot.
func (m *model) resets() bool { return m.network == "tcp" && !sys.OnWine() }

// countDescriptors returns zero where nobody tells. Wine has others than the program's.
func countDescriptors() int {
	if sys.OnWine() {
		return 0
	}
	open, _ := os.ReadDir("/proc/self/fd")
	return len(open)
}

// await waits until all is over that has begun.
func (m *model) await() {
	limit := time.After(patience)
	for _, a := range m.ends {
		if m.early && !a.plain && !a.isOpened() {
			continue
		}
		select {
		case <-a.over:
		case <-limit:
			a.locked(func() { m.t.Errorf("it does not end: %v; %+v", a, m.config) })
			a.peer.locked(func() { m.t.Fatalf("its peer: %v", a.peer) })
		}
	}
}

// connect makes a connection: accepted from a plain peer, dialed to one, or both.
func (m *model) connect() {
	a, b := m.newEnd(), m.newEnd()
	a.peer, b.peer = b, a
	kind := m.IntN(3)
	if m.config.MaxConns > 0 {
		kind = 0 // the group's own could wait for each other
	}
	if sys.OnWine() && kind != 1 {
		b.way = halfCloses // what is reset before it is accepted is lost there
	}
	switch kind {
	case 0:
		b.plain = true
		n, err := net.Dial(m.network, m.listen(a))
		b.start(n, err)
	case 1:
		b.plain = true
		ln, err := net.Listen(m.network, m.address())
		if err != nil {
			m.t.Fatal(err)
		}
		go func() {
			n, err := ln.Accept()
			ln.Close()
			b.start(n, err)
		}()
		if !m.dial(a, ln.Addr().String()) {
			ln.Close()
		}
	case 2:
		m.dial(b, m.listen(a))
	}
}

func (m *model) newEnd() *end {
	a := &end{m: m, Rand: newRand(m.Uint64()), over: make(chan struct{}), place: m.IntN(textBytes)}
	if m.IntN(2) == 0 {
		a.way = way(m.IntN(int(ways)))
	}
	a.total = m.IntN(pick(m.Rand, 1, 2, 1000, m.most, m.most) + 1)
	a.trip = m.IntN(a.total + 1)
	m.ends = append(m.ends, a)
	return a
}

func (m *model) address() string {
	if m.network == "unix" {
		return filepath.Join(m.t.TempDir(), "s")
	}
	return "127.0.0.1:0"
}

// listen returns an address at which a is accepted, or "".
func (m *model) listen(a *end) string {
	accept := func(*loop.Conn) loop.Handler { return a }
	var ln *loop.Listener
	var err error
	if m.network == "tcp" && m.IntN(3) > 0 { // the system has little room
		var s *sock.TCPListener
		if s, err = sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"), sock.SendBuffer(4<<10), sock.RecvBuffer(16<<10)); err == nil {
			ln, err = m.g.Serve(s, accept)
		}
		a.peer.total %= 100_000
	} else {
		ln, err = m.g.Listen(m.network, m.address(), accept)
	}
	if err != nil {
		a.mayFail("listen", err)
		return ""
	}
	return ln.Addr().String()
}

func (m *model) dial(a *end, address string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a.reads = true
	_, err := m.g.Dial(ctx, m.network, address, func(*loop.Conn) loop.Handler { return a })
	if err == nil || a.isOpened() { // and may have ended since
		return true
	}
	a.mayFail("dial", err)
	close(a.over)
	return false
}
