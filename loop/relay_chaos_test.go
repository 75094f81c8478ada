package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// chaosPair is a relay of two connections of which anything may end at any moment.
type chaosPair struct {
	seed   uint64
	text   string
	conns  [2]*loop.Conn
	peers  [2]chaosPeer
	unix   [2]bool         // the peer's connection has no reset
	wrote  [2]atomic.Int64 // by the peer
	got    [2]int64        // by the peer
	err    [2]error
	reset  [2]bool // the peer's Write has failed: the system reports a reset once
	ends   atomic.Int32
	end    loop.RelayEnd
	ended  chan struct{}
	closes bool // the program calls Close or CloseWith
	tiny   bool // the limits of Config are a few bytes
	failed bool // a connection failed before Relay
}

// chaosPeer is a tcpConn or a *net.UnixConn.
type chaosPeer interface {
	net.Conn
	CloseWrite() error
}

func chaosByte(seed uint64, i int, at int64) byte {
	return byte(at) ^ byte(at>>8)*31 ^ byte(at>>16)*7 ^ byte(seed*13) ^ byte(i*0x55)
}

func chaosConfig(r *rand.Rand) loop.Config {
	c := loop.Config{Loops: 1 + r.IntN(2), Logger: quiet()}
	switch r.IntN(4) {
	case 0:
		c.HighWatermarkBytes, c.MaxUnsentBytes, c.TurnBudgetBytes, c.MaxUnreadBytes = 1, 1+r.IntN(3)*2000, 1, 1
	case 1:
		c.HighWatermarkBytes, c.MaxUnsentBytes = 1+r.IntN(5000), 5000+r.IntN(5000)
		c.TurnBudgetBytes, c.MaxUnreadBytes = 1+r.IntN(3000), 1+r.IntN(10000)
	case 2:
		c.HighWatermarkBytes = 64 << 10
	}
	if r.IntN(4) == 0 {
		c.IdleTimeout = time.Hour
	}
	if r.IntN(4) == 0 {
		c.WriteTimeout = time.Hour
	}
	return c
}

// jitter waits for a random time, or yields.
func jitter(r *rand.Rand) {
	switch r.IntN(4) {
	case 0:
		runtime.Gosched()
	case 1:
		time.Sleep(time.Duration(r.IntN(300)) * time.Microsecond)
	case 2:
		time.Sleep(time.Duration(r.IntN(5000)) * time.Microsecond)
	}
}

func (p *chaosPair) write(i int, r *rand.Rand, wg *sync.WaitGroup) {
	defer wg.Done()
	size := []int64{0, r.Int64N(2000), r.Int64N(200_000), r.Int64N(2 << 20)}[r.IntN(4)]
	if p.tiny { // a byte at a time
		size %= 1000
	}
	b := make([]byte, 1+r.IntN(60_000))
	how, after := r.IntN(4), r.Int64N(size+1)
	for at := int64(0); at < size; {
		n := min(int64(len(b)), size-at)
		for j := range n {
			b[j] = chaosByte(p.seed, i, at+j)
		}
		p.wrote[i].Add(n) // at least what it may have sent
		k, err := p.peers[i].Write(b[:n])
		p.wrote[i].Add(int64(k) - n)
		at += int64(k)
		if err != nil {
			p.reset[i] = true
			return
		}
		if how == 1 && at >= after {
			break
		}
	}
	switch how {
	case 0:
		if tcp, ok := asTCP(p.peers[i]); ok {
			tcp.SetLinger(0)
		}
		p.peers[i].Close()
	case 2:
		jitter(r)
	}
	p.peers[i].CloseWrite()
}

func (p *chaosPair) read(i int, r *rand.Rand, wg *sync.WaitGroup, fail func(string, ...any)) {
	defer wg.Done()
	b := make([]byte, 1+r.IntN(100_000))
	slow, bad := r.IntN(3) == 0 && !p.tiny, false
	for {
		n, err := p.peers[i].Read(b)
		if !bad {
			for j := range n {
				if want := chaosByte(p.seed, 1-i, p.got[i]+int64(j)); b[j] != want {
					fail("%s: peer %d: byte %d is %#x, want %#x", p.text, i, p.got[i]+int64(j), b[j], want)
					bad = true
					break
				}
			}
		}
		p.got[i] += int64(n)
		if err != nil {
			p.err[i] = err
			return
		}
		if slow {
			jitter(r)
		}
	}
}

var errChaos = errors.New("chaos")

// disturb does what a program may do to a relayed connection.
func (p *chaosPair) disturb(what int, c *loop.Conn, r *rand.Rand) {
	switch what {
	case 0:
		p.closes = true
		c.Close()
	case 1:
		p.closes = true
		c.CloseWith(errChaos)
	case 2:
		c.Abort()
	case 3:
		c.AbortWith(errChaos)
	case 4:
		high := 1 + r.IntN(5000)
		c.SetWatermarks(high, 1+r.IntN(high))
		jitter(r)
		c.SetWatermarks(0, 0)
	case 5:
		c.SetBackpressure(r.IntN(2) == 0)
	case 6:
		c.SetIdleTimeout(time.Duration(r.IntN(2)) * time.Hour)
	case 7:
		c.Unsent()
		c.Handler()
		c.RemoteAddr()
		c.Context()
	case 8:
		loop.Offload(c, func() (int, error) { return 1, nil }, func(int, error) {})
	case 9:
		c.SetWriteTimeout(time.Hour)
	}
}

func (p *chaosPair) check(fail func(string, ...any)) {
	if n := p.ends.Load(); n != 1 {
		fail("%s: OnEnd was called %d times", p.text, n)
		return
	}
	e := p.end
	counts := [2]int64{e.BytesAToB, e.BytesBToA}
	if p.failed {
		return
	}
	for i := range 2 {
		wrote := p.wrote[1-i].Load()
		if e.Err == nil && p.got[i] > counts[1-i] || counts[1-i] > wrote { // a send in progress at the end is not counted
			fail("%s: peer %d got %d, count %d, written %d", p.text, i, p.got[i], counts[1-i], wrote)
		}
		reports := !sys.OnWine() // where a reset may be reported as EOF, also to the relay
		if reports && p.err[i] == io.EOF && p.got[i] < wrote && !p.closes && !p.reset[i] && !p.unix[i] {
			fail("%s: peer %d got FIN after %d bytes of %d; end %v", p.text, i, p.got[i], wrote, e.Err)
		}
		if reports && e.Err == nil && p.err[i] == io.EOF && !p.reset[i] && p.got[i] != wrote {
			fail("%s: peer %d got %d bytes of %d, and no error", p.text, i, p.got[i], wrote)
		}
	}
	if (e.Err == nil) != (e.From == nil) {
		fail("%s: OnEnd got %v from %p", p.text, e.Err, e.From)
	}
}

func dialChaos(t *testing.T, a net.Addr) (_ chaosPeer, unix bool) {
	t.Helper()
	if a.Network() != "unix" {
		return dial(t, a), false
	}
	c, err := dialNet(t, a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testTimeout))
	return c.(chaosPeer), true
}

// chaosEnds is the two groups whose connections are relayed.
type chaosEnds struct {
	groups [2]*loop.Group
	lns    [2]*loop.Listener
	conns  [2]chan *loop.Conn // accepted
	tiny   bool               // MaxUnsentBytes of one is below the default
	one    bool               // both connections of a pair are in the first group
}

func newChaosEnds(t *testing.T, r *rand.Rand) *chaosEnds {
	x := &chaosEnds{}
	for i := range x.groups {
		c := chaosConfig(r)
		x.tiny = x.tiny || c.MaxUnsentBytes > 0
		x.groups[i] = group(t, c)
		x.conns[i] = make(chan *loop.Conn, 1)
		network, address := "tcp", "127.0.0.1:0"
		if runtime.GOOS != "windows" && r.IntN(3) == 0 {
			network, address = "unix", filepath.Join(testkit.TempDir(t), "s")
		}
		ln, err := x.groups[i].Listen(network, address, func(c *loop.Conn) loop.Handler {
			c.Pause()
			x.conns[i] <- c
			return &funcs{}
		})
		if err != nil {
			t.Fatal(err)
		}
		x.lns[i] = ln
	}
	x.one = r.IntN(3) == 0
	return x
}

// connect connects both peers of a pair.
func (x *chaosEnds) connect(t *testing.T, p *chaosPair) {
	p.tiny = x.tiny
	for i := range 2 {
		g := i
		if x.one {
			g = 0
		}
		p.peers[i], p.unix[i] = dialChaos(t, x.lns[g].Addr())
		p.conns[i] = receive(t, x.conns[g], "connection")
	}
}

// start starts the peers, and then the relay and what disturbs it.
func (p *chaosPair) start(t *testing.T, r *rand.Rand, wg *sync.WaitGroup) {
	for i := range 2 {
		wg.Add(2)
		go p.write(i, rand.New(rand.NewPCG(p.seed, uint64(i))), wg)
		go p.read(i, rand.New(rand.NewPCG(p.seed, uint64(10+i))), wg, t.Errorf)
	}
	jitter(r)
	err := loop.Relay(p.conns[0], p.conns[1], loop.RelayConfig{IdleTimeout: time.Hour, OnEnd: func(e loop.RelayEnd) {
		p.end = e
		if p.ends.Add(1) == 1 {
			close(p.ended)
		}
	}})
	if err != nil { // a connection has failed before
		p.failed = true
		p.ends.Store(1)
		close(p.ended)
		for i := range 2 {
			p.conns[i].Abort()
		}
		return
	}
	wg.Go(func() {
		r := rand.New(rand.NewPCG(p.seed, 20))
		for range r.IntN(5) {
			jitter(r)
			what := 4 + r.IntN(6)
			if r.IntN(3) == 0 {
				what = r.IntN(4)
			}
			p.disturb(what, p.conns[r.IntN(2)], r)
		}
	})
}

func runChaos(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	ends := newChaosEnds(t, r)
	gs := ends.groups
	const pairs = 8
	var wg sync.WaitGroup
	all := make([]*chaosPair, pairs)
	for k := range all {
		p := &chaosPair{seed: seed*pairs + uint64(k), text: fmt.Sprintf("seed %d, pair %d", seed, k), ended: make(chan struct{})}
		all[k] = p
		ends.connect(t, p)
		p.start(t, r, &wg)
	}
	if r.IntN(3) == 0 {
		jitter(r)
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(20))*time.Millisecond)
		gs[r.IntN(2)].Shutdown(ctx)
		cancel()
		for _, p := range all {
			p.text += ", shutdown"
		}
	}
	for _, p := range all {
		receive(t, p.ended, "OnEnd of "+p.text)
	}
	wg.Wait()
	for _, p := range all {
		p.check(t.Errorf)
		p.peers[0].Close()
		p.peers[1].Close()
	}
	for _, g := range gs {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		if err := g.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			t.Errorf("seed %d: Shutdown: %v", seed, err)
		}
		cancel()
	}
}

// TestRelayEndsAnyhow ends relays at random moments in every way: each peer gets a beginning of what
// the other one has sent, and takes it for complete only if it is; OnEnd is called once.
func TestRelayEndsAnyhow(t *testing.T) {
	testkit.CheckLeaks(t)
	n := uint64(25)
	switch {
	case testkit.Long() && testkit.Race:
		n = 200
	case testkit.Long():
		n = 1000
	}
	for seed := range n {
		runChaos(t, seed)
		if t.Failed() {
			return
		}
	}
}
