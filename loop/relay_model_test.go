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
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// The model of a relay: two plain peers follow random programs, and what each of them gets must be
// what the other one has sent.

// relayWay is how the relay of a program begins.
type relayWay int

const (
	relayFromOutside  relayWay = iota // by a goroutine that is no loop's
	relayInData                       // in Data of a, which has consumed a header, and leaves the rest
	relayInReadClosed                 // in ReadClosed of a: its peer has closed before
	relayByRelayTo
	relayWays
)

// relayPeer is the program of one peer.
type relayPeer struct {
	size  int  // bytes that it writes
	chunk int  // bytes of a write
	slow  bool // it reads a little at a time
	late  bool // it reads only when it has written everything
	waits bool // it closes its side only when the other one has
	reset bool // it resets the connection when everything has arrived, instead of closing
}

type relayProgram struct {
	seed     uint64
	network  string
	way      relayWay
	groups   int
	loops    int
	small    bool // small watermarks and limits
	peers    [2]relayPeer
	contents byte
}

// relayHeader is what a's handler consumes before it calls Relay.
const relayHeader = "CONNECT\n"

func newRelayProgram(seed uint64) relayProgram {
	r := rand.New(rand.NewPCG(seed, 1))
	chance := func(n int) bool { return r.IntN(n) == 0 }
	p := relayProgram{
		seed: seed, network: "tcp", way: relayWay(r.IntN(int(relayWays))), groups: 1 + r.IntN(2), loops: 1 + r.IntN(2),
		small: chance(2), contents: byte(seed),
	}
	if chance(3) && !sys.OnWine() && runtime.GOOS != "windows" {
		p.network = "unix"
	}
	for i := range p.peers {
		x := &p.peers[i]
		x.size = []int{0, 1, r.IntN(100), r.IntN(100_000), r.IntN(3 << 20)}[r.IntN(5)]
		x.chunk = 1 + []int{r.IntN(100), r.IntN(20_000), r.IntN(300_000)}[r.IntN(3)]
		x.chunk = max(x.chunk, x.size/1000)
		x.slow = chance(3)
	}
	switch one, other := &p.peers[seed%2], &p.peers[1-seed%2]; r.IntN(4) {
	case 0:
		one.late = true
	case 1:
		one.waits = true
	case 2:
		one.reset = p.network == "tcp" && resetsKeepBytes()
		other.waits = one.reset // so that the reset is what ends the relay
	}
	for i := range p.peers {
		if p.peers[i].reset { // it waits for a byte, so that the relay has begun
			p.peers[1-i].size = max(p.peers[1-i].size, 1)
		}
	}
	if p.way == relayInReadClosed { // a must close first
		p.peers[0].waits, p.peers[0].reset, p.peers[1].reset = false, false, false
		p.peers[0].size = min(p.peers[0].size, 50_000)
	}
	return p
}

func (p relayProgram) String() string {
	return fmt.Sprintf("seed %d: %s, way %d, %d groups of %d loops, small %v, a %+v, b %+v",
		p.seed, p.network, p.way, p.groups, p.loops, p.small, p.peers[0], p.peers[1])
}

func (p *relayProgram) config() loop.Config {
	c := loop.Config{Loops: p.loops, Logger: quiet()}
	if p.small {
		high := 1 + int(p.seed*p.seed%4000)
		if sys.OnWine() {
			high += 4000 // a turn takes milliseconds there, and forwards as much as this
		}
		c.HighWatermarkBytes, c.LowWatermarkBytes, c.MaxUnsentBytes = high, (high+3)/4, high+int(p.seed%3000)
		c.MaxUnreadBytes, c.TurnBudgetBytes = 64<<10, 16<<10
	}
	return c
}

// relayResult is what a peer has seen.
type relayResult struct {
	got, wrote int
	err        error // of reading; io.EOF at the end
	writeErr   error
	bad        error // what was wrong
}

// relayByte returns the byte that peer i sends at a position.
func (p *relayProgram) relayByte(i, at int) byte {
	return byte(at) ^ byte(at>>8)*31 ^ byte(at>>16)*7 ^ p.contents ^ byte(i*0x55)
}

// play follows the program of peer i on c.
func (p *relayProgram) play(i int, c plainConn, prefix string) (r relayResult) {
	x := p.peers[i]
	wrote, first, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(wrote)
		if _, err := io.WriteString(c, prefix); err != nil {
			return
		}
		b := make([]byte, x.chunk)
		for r.wrote < x.size {
			n := min(x.chunk, x.size-r.wrote)
			for j := range n {
				b[j] = p.relayByte(i, r.wrote+j)
			}
			k, err := c.Write(b[:n])
			if r.wrote += k; err != nil {
				r.writeErr = err
				return
			}
		}
		if x.waits {
			<-ended
		}
		if !x.reset {
			c.CloseWrite()
			return
		}
		select {
		case <-first:
		case <-ended:
		}
		if !testkit.Eventually(func() bool { return unacked(c.(syscall.Conn)) == 0 }) {
			r.bad = errors.New("what was sent before the reset has not arrived")
		}
		c.(tcpConn).SetLinger(0)
		c.Close()
	}()
	if x.late {
		<-wrote
	}
	b := make([]byte, 64<<10)
	if x.slow {
		b = b[:3000]
	}
	for r.err == nil {
		var n int
		n, r.err = c.Read(b)
		for j := range n {
			if want := p.relayByte(1-i, r.got+j); b[j] != want && r.bad == nil {
				r.bad = fmt.Errorf("byte %d is %#x, want %#x", r.got+j, b[j], want)
			}
		}
		if n > 0 && r.got == 0 {
			close(first)
		}
		r.got += n
		if x.slow && r.got%7 == 0 {
			runtime.Gosched()
		}
	}
	close(ended)
	<-wrote
	c.Close()
	return r
}

// wasReset reports whether package net has reported a reset by the peer.
func wasReset(err error) bool {
	const wsaeconnreset = syscall.Errno(10054)
	return errors.Is(err, syscall.ECONNRESET) || runtime.GOOS == "windows" && errors.Is(err, wsaeconnreset)
}

// resetsKeepBytes reports whether the tests know what a peer gets that is reset: a system may drop
// what was received before, or not report what has arrived.
func resetsKeepBytes() bool { return runtime.GOOS == "linux" }

// relayRun has what a program needs while it runs.
type relayRun struct {
	*relayProgram
	groups []*loop.Group
	conns  [2]chan *loop.Conn
	ends   chan loop.RelayEnd
	failed chan error
}

func (r *relayRun) relayConfig() loop.RelayConfig {
	return loop.RelayConfig{OnEnd: func(e loop.RelayEnd) { r.ends <- e }, IdleTimeout: time.Hour}
}

// relay begins the relay: at once if both connections are there, in a callback of a, and else in
// another goroutine.
func (r *relayRun) relay(a *loop.Conn) {
	begin := func(b *loop.Conn) {
		if err := loop.Relay(a, b, r.relayConfig()); err != nil {
			r.failed <- fmt.Errorf("Relay: %w", err)
		}
	}
	select {
	case b := <-r.conns[1]:
		begin(b)
	default:
		go func() { begin(<-r.conns[1]) }()
	}
}

// accept returns the handler of connection i.
func (r *relayRun) accept(i int) loop.Handler {
	if i == 1 || r.way == relayFromOutside {
		return &funcs{opened: func(c *loop.Conn) { c.Pause(); r.conns[i] <- c }}
	}
	h := &funcs{}
	header, begun := len(relayHeader), false
	h.data = func(c *loop.Conn, b []byte) (int, error) {
		n := min(header, len(b))
		if header -= n; header == 0 && r.way == relayInData && !begun {
			begun = true
			c.Pause()
			r.relay(c)
		}
		return n, nil
	}
	h.readClosed = func(c *loop.Conn) {
		switch r.way {
		case relayInReadClosed:
			r.relay(c)
		case relayInData:
			r.failed <- errors.New("ReadClosed before the relay")
		}
	}
	return h
}

func (r *relayRun) listen(t *testing.T, i int, accept func(*loop.Conn) loop.Handler) net.Addr {
	address := "127.0.0.1:0"
	if r.network == "unix" {
		address = filepath.Join(t.TempDir(), fmt.Sprint(i))
	}
	ln, err := r.groups[i%len(r.groups)].Listen(r.network, address, accept)
	if err != nil {
		t.Fatal(err)
	}
	return ln.Addr()
}

// connect returns the two peers' connections.
func (r *relayRun) connect(t *testing.T) (peers [2]plainConn) {
	if r.way == relayByRelayTo {
		address := "127.0.0.1:0"
		if r.network == "unix" {
			address = filepath.Join(t.TempDir(), "server")
		}
		server, err := listenNet(t, r.network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		h, err := loop.RelayTo(r.network, server.Addr().String(), r.relayConfig())
		if err != nil {
			t.Fatal(err)
		}
		peers[0] = dialPlain(t, r.listen(t, 0, func(*loop.Conn) loop.Handler { return h }))
		c, err := server.Accept()
		if err != nil {
			t.Fatal(err)
		}
		peers[1] = c.(plainConn)
		return peers
	}
	for i := range peers {
		peers[i] = dialPlain(t, r.listen(t, i, func(*loop.Conn) loop.Handler { return r.accept(i) }))
	}
	if r.way == relayFromOutside {
		go func() { r.relay(<-r.conns[0]) }()
	}
	return peers
}

func dialPlain(t *testing.T, a net.Addr) plainConn {
	c, err := dialNet(t, a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(testTimeout))
	return c.(plainConn)
}

func (p relayProgram) run(t *testing.T) {
	r := &relayRun{relayProgram: &p, ends: make(chan loop.RelayEnd, 2), failed: make(chan error, 4)}
	for range p.groups {
		g, err := newGroup(t, p.config())
		if err != nil {
			t.Fatal(err)
		}
		r.groups = append(r.groups, g)
	}
	r.conns = [2]chan *loop.Conn{make(chan *loop.Conn, 1), make(chan *loop.Conn, 1)}
	prefix := ""
	if p.way == relayInData || p.way == relayInReadClosed {
		prefix = relayHeader
	}
	peers := r.connect(t)
	var results [2]relayResult
	var wg sync.WaitGroup
	for i := range peers {
		wg.Go(func() { results[i] = p.play(i, peers[i], []string{prefix, ""}[i]) })
	}
	wg.Wait()
	end := receive(t, r.ends, "OnEnd of "+p.String())
	p.check(t, results, end)
	for _, g := range r.groups {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		if err := g.Shutdown(ctx); err != nil {
			t.Errorf("%v: Shutdown after the relay: %v", p, err)
		}
		cancel()
	}
	select {
	case err := <-r.failed:
		t.Errorf("%v: %v", p, err)
	case e := <-r.ends:
		t.Errorf("%v: OnEnd was called again, with %+v", p, e)
	default:
	}
}

// check compares what the peers have got with what the model says.
func (p *relayProgram) check(t *testing.T, r [2]relayResult, end loop.RelayEnd) {
	counts := [2]int64{end.BytesAToB, end.BytesBToA} // by the sender
	reset := -1
	for i := range r {
		if p.peers[i].reset {
			reset = i
		}
	}
	for i := range r {
		other := r[1-i]
		if r[i].bad != nil {
			t.Errorf("%v: peer %d: %v", p, i, r[i].bad)
		}
		if reset == i {
			continue // it has not read everything
		}
		if r[i].got != other.wrote || counts[1-i] != int64(other.wrote) {
			t.Errorf("%v: peer %d got %d bytes of %d, then %v; the count is %d", p, i, r[i].got, other.wrote, r[i].err, counts[1-i])
		}
		switch {
		case reset < 0 && (r[i].err != io.EOF || r[i].wrote != p.peers[i].size):
			t.Errorf("%v: peer %d has written %d bytes; reading ended with %v", p, i, r[i].wrote, r[i].err)
		case reset >= 0 && !wasReset(r[i].err) && !wasReset(r[i].writeErr):
			// A reset is reported once: to the reader, or to the writer.
			t.Errorf("%v: the other peer has reset; reading ended with %v, writing with %v", p, r[i].err, r[i].writeErr)
		}
	}
	from := []*loop.Conn{end.A, end.B}
	switch {
	case reset < 0:
		if end.Err != nil || end.From != nil {
			t.Errorf("%v: OnEnd got %v, from %v, want nil", p, end.Err, end.From)
		}
	case end.From != from[reset] || !errors.Is(end.Err, syscall.ECONNRESET) && !errors.Is(end.Err, syscall.EPIPE):
		t.Errorf("%v: OnEnd got %v, from %p of %p; want a reset", p, end.Err, end.From, from)
	}
}

// TestRelayModel runs random programs of writes, FINs, resets and slow readers at both sides of a
// relay: L3, L3b and L4 hold across it.
func TestRelayModel(t *testing.T) {
	testkit.CheckLeaks(t)
	programs := uint64(150)
	switch {
	case testkit.Long() && !testkit.Race:
		programs = 3000
	case testkit.Long():
		programs = 600
	case testing.Short() || testkit.Race || sys.OnWine():
		programs = 60
	}
	for seed := range programs {
		newRelayProgram(seed).run(t)
		if t.Failed() {
			return
		}
	}
}
