package loop_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// TestL12PacketModel runs random programs of datagrams. A seed determines loops, listeners, plain
// sockets as their peers, and what each sends: sizes, WriteTo or WriteBatch, in callbacks, in
// functions on the loop and on other goroutines, unicast and broadcast, and a listener that closes
// in the middle. Each datagram contains its sender and its number: it must arrive once, whole, in
// the order of the calls. No receiver is sent more than its buffer holds, so none is lost. The
// scheduling is not determined: reproducing a failure may take several runs (-count).
func TestL12PacketModel(t *testing.T) {
	first, n := 0, 12
	switch s := os.Getenv(seedEnv); {
	case s != "":
		var err error
		if first, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
		n = 1
	case testkit.Long() && !testkit.Race:
		n = 300
	case testkit.Long():
		n = 60
	case testkit.Race || sys.OnWine():
		n = 5
	}
	for seed := first; seed < first+n; seed++ {
		if !t.Run(fmt.Sprint("seed", seed), func(t *testing.T) { runPacketModel(t, uint64(seed)) }) {
			t.Fatalf("to reproduce it: %s=%d", seedEnv, seed)
		}
	}
}

// orderRuns is how often a seed is run whose datagrams arrive out of order. The kernel reorders
// them, too, though seldom: a datagram over loopback waits in the backlog of the processor that
// sent it, and a thread that migrates to another processor may send the next one from there. A bug
// of this package recurs.
const orderRuns = 3

func runPacketModel(t *testing.T, seed uint64) {
	for run := 1; ; run++ {
		m := newPacketModel(t, seed)
		m.run()
		switch {
		case len(m.misordered) == 0:
			return
		case run == orderRuns:
			t.Errorf("datagrams were out of order in %d of %d runs:\n%s", run, orderRuns, strings.Join(m.misordered, "\n"))
			return
		}
		t.Logf("datagrams were out of order; running the seed again:\n%s", strings.Join(m.misordered, "\n"))
	}
}

// report records an error that a receiver has detected.
func (m *packetModel) report(receiver string, err error) {
	var order *orderError
	if !errors.As(err, &order) {
		m.t.Errorf("%s: %v", receiver, err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.misordered = append(m.misordered, fmt.Sprintf("%s: %v", receiver, err))
}

// An orderError reports a datagram that arrived before one that was sent before it.
type orderError struct {
	from      origin
	size      int
	seq, want uint32
}

func (e *orderError) Error() string {
	return fmt.Sprintf("a datagram of %d bytes from %+v has number %d, want %d", e.size, e.from, e.seq, e.want)
}

// packetModel is a group, its listeners, and their peers.
type packetModel struct {
	*rand.Rand
	t         *testing.T
	g         *loop.Group
	listeners []*modelListener
	peers     []*modelPeer
	senders   sync.WaitGroup
	loops     int
	ops       int  // of each goroutine that sends
	closes    bool // one listener closes in the middle

	mu         sync.Mutex
	misordered []string // datagrams out of order
}

// Offsets in the header of a datagram that is not empty; the fields are big-endian.
const (
	headerFrom   = 0 // the sender's number, 2 bytes
	headerStream = 2 // 2 bytes
	headerSeq    = 4 // 4 bytes
	headerBytes  = 8
)

// Streams of a sender. Each is in order.
const (
	serializedStream = iota // shared by all callers, which hold the sender's lock
	callbackStream          // of the callbacks
	toAllStream             // of broadcasts
	goroutineStreams        // the first of those of one goroutine each
)

// origin identifies a sequence of numbers.
type origin struct{ from, stream uint16 }

// ledger records what a receiver has received and may still receive.
type ledger struct {
	mu      sync.Mutex
	changed *sync.Cond
	credit  int // bytes
	empties int // empty datagrams in flight
	next    map[origin]uint32
	at      map[origin]*loop.PacketConn // the socket that received them
	closing bool                        // the listener's sockets may be closed one after the other: the system gives what follows to those that are left
	closed  bool
}

// credits is how much of a receiver's buffer may be in use. The system accounts for the memory of
// a datagram, not for its bytes: cost estimates it.
const credits = 190_000

func cost(size int) int { return 2*size + 2500 }

func newLedger() *ledger {
	l := &ledger{credit: credits, next: map[origin]uint32{}, at: map[origin]*loop.PacketConn{}}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// acquire takes credit, and waits for it if wait is true; it returns false if there is not enough
// or the ledger is closed.
func (l *ledger) acquire(n int, wait bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for wait && l.credit < n && !l.closed {
		l.changed.Wait()
	}
	if l.credit < n || l.closed {
		return false
	}
	l.credit -= n
	return true
}

func (l *ledger) releaseLocked(n int) {
	l.credit += n
	l.changed.Broadcast()
}

func (l *ledger) beginClosing() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
}

func (l *ledger) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.changed.Broadcast()
}

// waitAll waits until everything that was sent has arrived.
func (l *ledger) waitAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.credit < credits && !l.closed {
		l.changed.Wait()
	}
}

// received checks a datagram, and releases its credit.
func (l *ledger) received(b []byte, truncated bool, p *loop.PacketConn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.releaseLocked(cost(len(b)))
	if truncated {
		return fmt.Errorf("received a datagram truncated to %d bytes", len(b))
	}
	if len(b) == 0 {
		if l.empties--; l.empties < 0 && !l.closed {
			return errors.New("received an empty datagram that was not sent")
		}
		return nil
	}
	if len(b) < headerBytes {
		return fmt.Errorf("received a datagram of %d bytes that was not sent", len(b))
	}
	o := origin{binary.BigEndian.Uint16(b[headerFrom:]), binary.BigEndian.Uint16(b[headerStream:])}
	seq := binary.BigEndian.Uint32(b[headerSeq:])
	if want := l.next[o]; seq > want {
		return &orderError{o, len(b), seq, want}
	} else if seq < want {
		return fmt.Errorf("received %d bytes from %+v again, as number %d, want %d", len(b), o, seq, want)
	}
	l.next[o]++
	for i := headerBytes; i < len(b); i++ {
		if b[i] != byte(int(seq)+len(b)+i) {
			return fmt.Errorf("byte %d of %d, in number %d from %+v, differs from what was sent", i, len(b), seq, o)
		}
	}
	if before := l.at[o]; before != nil && before != p && !l.closing {
		return fmt.Errorf("number %d from %+v was received by another loop than those before", seq, o)
	}
	l.at[o] = p
	return nil
}

// newDatagram returns a datagram with number seq of a stream.
func newDatagram(o origin, seq uint32, size int) []byte {
	b := make([]byte, size)
	if size == 0 {
		return b
	}
	binary.BigEndian.PutUint16(b[headerFrom:], o.from)
	binary.BigEndian.PutUint16(b[headerStream:], o.stream)
	binary.BigEndian.PutUint32(b[headerSeq:], seq)
	for i := headerBytes; i < size; i++ {
		b[i] = byte(int(seq) + size + i)
	}
	return b
}

// modelListener is a listener of the group.
type modelListener struct {
	in     *ledger
	pl     *loop.PacketListener
	at     netip.AddrPort // its unicast address
	all    netip.AddrPort // its broadcast address, or the zero AddrPort
	conns  []*modelSender
	closes atomic.Bool // Close was called
}

// modelPeer is a plain socket.
type modelPeer struct {
	modelSender
	in   *ledger
	stop func()
	done chan struct{}
}

// modelSender sends from one socket.
type modelSender struct {
	m  *packetModel
	id uint16
	u  interface {
		WriteTo([]byte, netip.AddrPort) (int, error)
		WriteBatch([]sock.Message) (int, error)
	}
	p    *loop.PacketConn // nil for a peer
	ln   *modelListener   // nil for a peer
	mu   sync.Mutex       // held while sending on serializedStream
	next map[target]uint32
}

type target struct {
	to     *ledger
	stream uint16
}

// numbers are the next numbers of the streams that only one goroutine uses.
type numbers map[target]uint32

// lockedSource is a rand.Source for concurrent use.
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

func newPacketModel(t *testing.T, seed uint64) *packetModel {
	r := newRand(seed)
	return &packetModel{Rand: r, t: t, loops: pick(r, 1, 1, 2, 4), ops: 20 + r.IntN(40), closes: r.IntN(3) == 0}
}

func (m *packetModel) run() {
	m.g = group(m.t, loop.Config{Loops: m.loops, SlowCallback: -1, Logger: failOnLog(m.t)})
	for i := range 1 + m.IntN(3) {
		m.peers = append(m.peers, m.newPeer(uint16(1000+i)))
	}
	for i := range 1 + m.IntN(3) {
		m.listeners = append(m.listeners, m.newListener(uint16(i*loop.MaxLoops)))
	}
	for _, s := range m.peers {
		for i := range 1 + m.IntN(2) {
			m.start(func(r *rand.Rand) { s.sendFromPeer(r, goroutineStreams+uint16(i)) })
		}
	}
	for _, ln := range m.listeners {
		for _, c := range ln.conns {
			for i := range 1 + m.IntN(3) {
				m.start(func(r *rand.Rand) { c.sendFromGoroutine(r, goroutineStreams+uint16(i)) })
			}
		}
	}
	if m.closes {
		ln := pick(m.Rand, m.listeners...)
		m.start(func(r *rand.Rand) {
			for range r.IntN(200) {
				runtime.Gosched()
			}
			ln.closes.Store(true)
			ln.in.beginClosing()
			if err := ln.pl.Close(); err != nil {
				m.t.Error(err)
			}
			ln.in.close() // what has not arrived is lost
		})
	}
	m.waitFor(m.senders.Wait, m.ledgers())
	m.end()
}

// waitFor calls before, and then waits until everything that was sent to the receivers has arrived.
func (m *packetModel) waitFor(before func(), receivers []*ledger) {
	over := make(chan struct{})
	go func() {
		before()
		for _, l := range receivers {
			l.waitAll()
		}
		close(over)
	}()
	select {
	case <-over:
	case <-time.After(testTimeout):
		for _, l := range receivers {
			l.mu.Lock()
			m.t.Errorf("datagrams are missing: credit %d of %d, %d empty ones in flight, next numbers %v", l.credit, credits, l.empties, l.next)
			l.mu.Unlock()
			l.close()
		}
		<-over
	}
}

func (m *packetModel) ledgers() (all []*ledger) {
	all = m.peerLedgers()
	for _, ln := range m.listeners {
		all = append(all, ln.in)
	}
	return all
}

func (m *packetModel) peerLedgers() (all []*ledger) {
	for _, s := range m.peers {
		all = append(all, s.in)
	}
	return all
}

func (m *packetModel) end() {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if err := m.g.Shutdown(ctx); err != nil {
		m.t.Error(err)
	}
	m.waitFor(func() {}, m.peerLedgers()) // the last callbacks have sent, after what they received had arrived
	for _, s := range m.g.Stats().Loops {
		if s.PacketErrors != 0 {
			m.t.Errorf("PacketErrors = %d, want 0: accepted datagrams were not sent", s.PacketErrors)
		}
	}
	for _, s := range m.peers {
		s.stop()
		<-s.done
		if s.in.empties != 0 {
			m.t.Errorf("%d empty datagrams did not arrive", s.in.empties)
		}
		if n, from, err := s.u.(*sock.UDPSocket).ReadFrom(make([]byte, 64<<10)); err == nil {
			m.t.Errorf("received %d more bytes from %v", n, from)
		}
	}
}

// start starts a goroutine that sends.
func (m *packetModel) start(f func(r *rand.Rand)) {
	r := newRand(m.Uint64())
	m.senders.Go(func() { f(r) })
}

func (m *packetModel) newPeer(id uint16) *modelPeer {
	c := newClient(m.t)
	c.SetReadBuffer(1 << 20) // up to the system's limit
	if err := c.SetBroadcast(true); err != nil {
		m.t.Fatal(err)
	}
	s := &modelPeer{in: newLedger(), stop: c.stop, done: make(chan struct{})}
	s.m, s.id, s.u, s.next = m, id, c.UDPSocket, map[target]uint32{}
	go s.receive(c)
	return s
}

func (s *modelPeer) receive(c *udpClient) {
	defer close(s.done)
	b := make([]byte, 64<<10)
	for {
		n, from, err := c.ReadFrom(b)
		switch {
		case err == nil:
			if err := s.in.received(b[:n], false, nil); err != nil {
				s.m.report(fmt.Sprintf("a peer, from %v", from), err)
			}
		case !errors.Is(err, sock.ErrWouldBlock):
			s.m.t.Errorf("a peer's ReadFrom: %v", err)
			return
		default:
			if err := c.wait(-1); err != nil {
				return // closed
			}
		}
	}
}

func (m *packetModel) newListener(first uint16) *modelListener {
	ln := &modelListener{in: newLedger()}
	address := pick(m.Rand, "127.0.0.1:0", "0.0.0.0:0", "0.0.0.0:0")
	var mu sync.Mutex
	seed := m.Uint64()
	handler := func(p *loop.PacketConn) loop.PacketHandler {
		mu.Lock()
		defer mu.Unlock()
		p.SetReadBuffer(1 << 20)
		c := &modelSender{m: m, id: first + uint16(len(ln.conns)), u: p, p: p, ln: ln, next: map[target]uint32{}}
		ln.conns = append(ln.conns, c)
		r, own := newRand(seed+uint64(c.id)), numbers{}
		return &packetFuncs{
			packets:  func(_ *loop.PacketConn, ms []sock.Message) { c.packets(r, own, ms) },
			writable: func(*loop.PacketConn) { c.sendSome(r, own) },
		}
	}
	var err error
	if m.IntN(4) > 0 {
		ln.pl, err = m.g.ListenPacket("udp4", address, handler)
	} else {
		var u *sock.UDPSocket
		if u, err = sock.ListenUDP(netip.MustParseAddrPort(address), onNet(m.t)...); err == nil {
			ln.pl, err = m.g.ServePacket(u, handler)
		}
	}
	if err != nil {
		m.t.Fatal(err)
	}
	port := netip.MustParseAddrPort(ln.pl.Addr().String()).Port()
	ln.at = netip.AddrPortFrom(loopback.Addr(), port)
	if address[0] == '0' && runtime.GOOS == "linux" {
		ln.all = netip.AddrPortFrom(netip.MustParseAddr("127.255.255.255"), port)
	}
	return ln
}

// packets is the handler's Packets.
func (c *modelSender) packets(r *rand.Rand, own numbers, ms []sock.Message) {
	for i := range ms {
		if err := c.ln.in.received(ms[i].Data[:ms[i].N], ms[i].Truncated, c.p); err != nil {
			c.m.report(fmt.Sprintf("a listener, from %v", ms[i].Addr), err)
		}
		for range r.IntN(4) {
			c.sendSome(r, own)
		}
	}
}

// sendSome sends in a callback, which must not wait for credit.
func (c *modelSender) sendSome(r *rand.Rand, own numbers) {
	s := pick(r, c.m.peers...)
	if r.IntN(2) == 0 {
		c.send(r, s.in, c.peerAt(s), callbackStream, own, false)
	} else {
		c.send(r, s.in, c.peerAt(s), serializedStream, nil, false)
	}
}

func (c *modelSender) peerAt(s *modelPeer) netip.AddrPort { return s.u.(*sock.UDPSocket).LocalAddr() }

// sendFromGoroutine sends from a listener's socket.
func (c *modelSender) sendFromGoroutine(r *rand.Rand, stream uint16) {
	own := numbers{}
	for range c.m.ops {
		s := pick(r, c.m.peers...)
		switch r.IntN(4) {
		case 0:
			c.send(r, s.in, c.peerAt(s), stream, own, true)
		case 1:
			f := func() { c.send(r, s.in, c.peerAt(s), serializedStream, nil, false) }
			done := make(chan struct{})
			if c.p.Loop().Run(func() { f(); close(done) }) == nil {
				<-done // r is for one goroutine at a time
			}
		default:
			c.send(r, s.in, c.peerAt(s), serializedStream, nil, true)
		}
	}
}

// sendFromPeer sends to listeners.
func (s *modelPeer) sendFromPeer(r *rand.Rand, stream uint16) {
	own := numbers{}
	for range s.m.ops {
		ln := pick(r, s.m.listeners...)
		if ln.all.IsValid() && r.IntN(4) == 0 {
			s.mu.Lock() // the peer's other goroutine uses this stream, too
			s.send(r, ln.in, ln.all, toAllStream, s.next, true)
			s.mu.Unlock()
			continue
		}
		s.send(r, ln.in, ln.at, stream, own, true)
	}
}

// send sends one datagram or a batch, and records which of them were accepted.
func (c *modelSender) send(r *rand.Rand, to *ledger, at netip.AddrPort, stream uint16, own numbers, wait bool) {
	n, total := 1, 0
	if r.IntN(3) == 0 {
		n = r.IntN(10) + 1
	}
	var sizes []int
	for range n {
		size := pick(r, 0, headerBytes, headerBytes+r.IntN(100), 1400, 2040+r.IntN(20), 3000, 9000, headerBytes+r.IntN(65_500))
		if total+cost(size) <= credits {
			total += cost(size)
			sizes = append(sizes, size)
		}
	}
	if !to.acquire(total, wait) {
		return
	}
	if stream == serializedStream {
		c.mu.Lock()
		defer c.mu.Unlock()
		own = c.next
	}
	key := target{to, stream}
	ms := make([]sock.Message, len(sizes))
	seq, empties := own[key], 0
	for i, size := range sizes {
		ms[i] = sock.Message{Data: newDatagram(origin{c.id, stream}, seq, size), Addr: at}
		if size > 0 {
			seq++
		} else {
			empties++
		}
	}
	to.mu.Lock()
	to.empties += empties
	to.mu.Unlock()
	sent := c.write(r, ms)
	for i := range ms { // the buffer may be reused immediately
		size := len(ms[i].Data)
		switch {
		case i >= sent:
			to.mu.Lock()
			if size == 0 {
				to.empties--
			}
			to.releaseLocked(cost(size))
			to.mu.Unlock()
		case size > 0:
			own[key]++
		}
		clear(ms[i].Data)
	}
}

// write sends with WriteTo or WriteBatch, and returns how many datagrams were accepted.
func (c *modelSender) write(r *rand.Rand, ms []sock.Message) (sent int) {
	checkErr := func(err error) {
		if err != nil && err != sock.ErrWouldBlock && !(c.ln != nil && c.ln.closes.Load() && errors.Is(err, net.ErrClosed)) {
			c.m.t.Errorf("sending: got %v, want nil or ErrWouldBlock", err)
		}
	}
	if r.IntN(2) == 0 {
		n, err := c.u.WriteBatch(ms)
		if n < len(ms) && err == nil {
			c.m.t.Errorf("WriteBatch of %[2]d = %[1]d, nil, want an error if not all are sent", n, len(ms))
		}
		checkErr(err)
		return n
	}
	for i := range ms {
		if r.IntN(20) == 0 { // a datagram that cannot be sent does not affect the others
			if _, err := c.u.WriteTo(make([]byte, 66_000), ms[i].Addr); err == nil {
				c.m.t.Error("WriteTo of 66,000 bytes succeeded, want an error")
			}
		}
		n, err := c.u.WriteTo(ms[i].Data, ms[i].Addr)
		if err != nil {
			checkErr(err)
			return i
		}
		if n != len(ms[i].Data) {
			c.m.t.Errorf("WriteTo = %d, want %d", n, len(ms[i].Data))
		}
	}
	return len(ms)
}
