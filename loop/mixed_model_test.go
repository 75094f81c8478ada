package loop_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// The mixed model: on each connection one goroutine writes numbered records by every way that there
// is, while other goroutines change its settings, send to Fanouts that it joins and leaves, visit it,
// and offload to it. Each peer checks that it gets whole records, in the order of their numbers
// for each source, and at the end of the stream all records that were accepted.

const (
	mixedOwner  = iota // records of the goroutine that owns the connection
	mixedWork          // of Offload's second halves
	mixedVisit         // of Each
	mixedFanout        // of Fanouts: with gaps, as members come and go
	mixedSources
)

type mixedConn struct {
	m    *mixedModel
	c    *loop.Conn
	peer tcpConn

	mu       sync.Mutex // a record is written under it, so that numbers are in the order of the calls
	accepted [mixedSources]uint32
	how      atomic.Int32 // how it ends
	closed   chan error
	closes   atomic.Int32
	owned    atomic.Int64 // calls of done that are still due
}

const (
	mixedCloses = 1 + iota
	mixedCloseWrites
	mixedAborts
	mixedDetaches
)

type mixedModel struct {
	t       *testing.T
	seed    uint64
	groups  []*loop.Group
	fanouts []*loop.Fanout
	conns   []*mixedConn
	shared  atomic.Int64   // Shareds that are not freed
	ends    sync.WaitGroup // goroutines that use an end of a connection after its callbacks, or its reads
}

func (m *mixedModel) newShared(b []byte) *loop.Shared {
	m.shared.Add(1)
	var freed atomic.Bool
	return loop.NewSharedFunc(b, func() {
		if freed.Swap(true) {
			m.t.Error("freed was called twice")
		}
		clear(b) // a connection that still sends it sends zeros
		m.shared.Add(-1)
	})
}

// write writes one record of a source, in a random way.
func (x *mixedConn) write(r *rand.Rand, source byte) error {
	length := r.IntN(300)
	switch r.IntN(8) {
	case 0:
		length = r.IntN(60 << 10)
	case 1:
		length = r.IntN(5 << 10)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	b := newRecord(source, x.accepted[source], length)
	var err error
	switch r.IntN(4) {
	case 0:
		_, err = x.c.Write(b)
	case 1:
		at := r.IntN(len(b) + 1)
		_, err = x.c.Writev([][]byte{b[:at], nil, b[at:]})
	case 2:
		x.owned.Add(1)
		if _, err = x.c.WriteOwned(b, func(error) { x.owned.Add(-1); clear(b) }); err != nil {
			x.owned.Add(-1)
		}
	case 3:
		s := x.m.newShared(b)
		_, err = x.c.WriteShared(s)
		s.Release()
	}
	if err == nil {
		x.accepted[source]++
	} else if !errors.Is(err, loop.ErrBufferFull) && !errors.Is(err, loop.ErrClosed) {
		x.m.t.Errorf("write: %v", err)
	}
	return err
}

// own is the goroutine of a connection.
func (x *mixedConn) own(seed uint64) {
	r := rand.New(rand.NewPCG(x.m.seed, seed))
	steps := 50 + r.IntN(150)
	for range steps {
		f := x.m.fanouts[r.IntN(len(x.m.fanouts))]
		switch r.IntN(16) {
		case 0:
			x.c.SetWatermarks(1+r.IntN(64<<10), 0)
		case 1:
			x.c.SetWatermarks(0, 0)
		case 2:
			x.c.SetBackpressure(r.IntN(2) == 0)
		case 3:
			f.Add(x.c)
		case 4:
			f.Remove(x.c)
		case 5:
			own := rand.New(rand.NewPCG(r.Uint64(), 0))
			loop.Offload(x.c, func() (int, error) { return 7, nil }, func(n int, err error) {
				if n != 7 || err != nil || x.closes.Load() != 0 {
					x.m.t.Errorf("done got %d, %v; Closed was called %d times", n, err, x.closes.Load())
				}
				x.write(own, mixedWork)
			})
		case 6:
			x.c.Pause()
			x.c.Resume()
		case 7:
			x.c.Loop().AfterFunc(0, func() { x.c.Loop().Group().Stats() })
		default:
			x.write(r, mixedOwner)
		}
		if !testkit.Eventually(func() bool { return x.c.Unsent() < 1<<20 || x.closes.Load() > 0 }) {
			x.m.t.Errorf("the peer does not read: %d bytes are unsent", x.c.Unsent())
		}
	}
	how := 1 + r.Int32N(4)
	if how == mixedDetaches && withLayers() {
		how = mixedCloses // a connection with a layer cannot be detached
	}
	x.how.Store(how)
	switch how {
	case mixedCloses:
		x.c.Close()
	case mixedCloseWrites:
		x.c.CloseWrite()
	case mixedAborts:
		x.c.Abort()
	case mixedDetaches:
		x.m.ends.Add(1)
		err := x.c.DetachStream(func(s *sock.Stream, _ []byte, err error) {
			defer x.m.ends.Done()
			if err == nil {
				c := plainStream(s)
				x.m.ends.Go(func() { // closing a socket that has unread bytes resets it
					io.Copy(io.Discard, c)
					c.Close()
				})
				c.CloseWrite()
			}
		})
		if err != nil { // and the function is not called
			x.m.ends.Done()
		}
	}
}

// read is the peer. It returns the numbers of records by source when the stream ends.
func (x *mixedConn) read(slow *rand.Rand) (got [mixedSources]uint32, err error) {
	b := bufio.NewReaderSize(x.peer, 4<<10)
	var header [recordHeader]byte
	body := make([]byte, 64<<10)
	fanned := map[uint32]bool{}
	replies := make(chan int, 1)
	defer close(replies)
	x.m.ends.Go(func() { // a peer that writes before it reads on may wait forever (L4)
		for n := range replies {
			x.peer.Write(make([]byte, n))
		}
	})
	for {
		if _, err := io.ReadFull(b, header[:]); err != nil {
			return got, err
		}
		source, n := header[0], binary.BigEndian.Uint32(header[1:])
		length := binary.BigEndian.Uint32(header[5:])
		if source >= mixedSources || length > 64<<10 {
			return got, fmt.Errorf("damaged: header %v after %v", header, got)
		}
		if _, err := io.ReadFull(b, body[:length]); err != nil {
			return got, err
		}
		for _, y := range body[:length] {
			if y != byte(n) {
				return got, fmt.Errorf("damaged: a byte of record %d of source %d is %d", n, source, y)
			}
		}
		if source == mixedFanout {
			if fanned[n] {
				return got, fmt.Errorf("damaged: message %d of a Fanout came twice", n)
			}
			fanned[n] = true
			continue
		}
		if n != got[source] {
			return got, fmt.Errorf("damaged: record %d of source %d, want %d", n, source, got[source])
		}
		got[source]++
		if slow.IntN(16) == 0 {
			select {
			case replies <- slow.IntN(2000):
			default:
			}
		}
	}
}

func (x *mixedConn) check(got [mixedSources]uint32, err error) {
	x.mu.Lock()
	want := x.accepted
	x.mu.Unlock()
	want[mixedFanout] = 0
	switch how := x.how.Load(); {
	case err == io.EOF && got != want && how != mixedAborts: // a write of the peer may have got the reset
		x.m.t.Errorf("end %d: the peer got %v records and FIN; %v were accepted", how, got, want)
	case err != io.EOF && how != mixedAborts:
		x.m.t.Errorf("end %d: the peer got %v records of %v, and then %v", how, got, want, err)
	case len(err.Error()) > 7 && err.Error()[:7] == "damaged":
		x.m.t.Errorf("end %d: %v", how, err)
	}
}

// L3, L9: nothing is lost, repeated or freed too early when all ways to write are mixed.
func TestL3MixedModel(t *testing.T) {
	testkit.CheckLeaks(t)
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("seed %d", seed)
	m := &mixedModel{t: t, seed: seed}
	skip := loop.SkipSlow
	m.fanouts = []*loop.Fanout{loop.NewFanout(loop.FanoutConfig{Slow: skip}), loop.NewFanout(loop.FanoutConfig{Slow: skip, MaxUnsentBytes: 200 << 10, MaxPendingMessages: 50})}
	m.connect(rand.New(rand.NewPCG(seed, 99)))
	var peers, owners, senders sync.WaitGroup
	byConn := map[*loop.Conn]*mixedConn{}
	for i, x := range m.conns {
		byConn[x.c] = x
		peers.Go(func() { x.readAll(rand.New(rand.NewPCG(seed, uint64(1000+i)))) })
		owners.Go(func() { x.own(uint64(i)) })
	}
	var number atomic.Uint32
	for i := range 3 {
		senders.Go(func() { m.sendToFanouts(rand.New(rand.NewPCG(seed, uint64(2000+i))), &number) })
	}
	senders.Go(func() { m.visit(rand.New(rand.NewPCG(seed, 3000)), byConn) })
	owners.Wait()
	peers.Wait()
	senders.Wait()
	m.ends.Wait() // a peer has the FIN of a detached connection before that has the peer's, and is closed
	for _, g := range m.groups {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		if err := g.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		cancel()
		for i, l := range g.Stats().Loops {
			if l.BlocksLent != 0 || l.UnsentBytes != 0 || l.Conns != 0 {
				t.Errorf("loop %d: %+v", i, l)
			}
		}
	}
	for i, f := range m.fanouts {
		if s := f.Stats(); s.Members != 0 || s.PendingBytes != 0 || s.PendingMessages != 0 {
			t.Errorf("Fanout %d: %+v", i, s)
		}
	}
	if n := m.shared.Load(); n != 0 {
		t.Errorf("%d Shareds were not freed", n)
	}
}

// connect makes two groups, and the connections of both.
func (m *mixedModel) connect(r *rand.Rand) {
	t := m.t
	for range 2 {
		opened := make(chan *mixedConn)
		g := group(t, loop.Config{Loops: 2, Logger: quiet(), HighWatermarkBytes: 64 << 10, MaxUnsentBytes: 4 << 20, TurnBudgetBytes: 32 << 10})
		ln, err := g.Listen("tcp", "127.0.0.1:0", func(c *loop.Conn) loop.Handler {
			x := &mixedConn{m: m, c: c, closed: make(chan error, 1)}
			return &funcs{
				opened:     func(*loop.Conn) { go func() { opened <- x }() },
				readClosed: func(c *loop.Conn) { c.Close() },
				closed: func(c *loop.Conn, why error) {
					x.closes.Add(1)
					x.closed <- why
				},
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		m.groups = append(m.groups, g)
		for range 8 {
			peer := dial(t, ln.Addr())
			x := receive(t, opened, "Opened")
			x.peer = peer
			if r.IntN(2) == 0 {
				x.c.SetWriteBuffer(8 << 10)
			}
			m.conns = append(m.conns, x)
		}
	}
}

// readAll reads everything that the connection sends, and checks it.
func (x *mixedConn) readAll(r *rand.Rand) {
	t := x.m.t
	got, err := x.read(r)
	if err == io.EOF {
		x.peer.CloseWrite()
	} else {
		x.peer.Close()
	}
	receive(t, x.closed, "Closed")
	x.check(got, err)
	if n := x.owned.Load(); n != 0 {
		t.Errorf("Closed was called, and %d calls of done are due", n)
	}
	x.peer.Close()
}

// sendToFanouts sends messages with the numbers that follow.
func (m *mixedModel) sendToFanouts(r *rand.Rand, number *atomic.Uint32) {
	for range 400 {
		f := m.fanouts[r.IntN(2)]
		s := m.newShared(newRecord(mixedFanout, number.Add(1), []int{0, 10, 200, 400, 900, 30 << 10}[r.IntN(6)]))
		if err := f.Send(s); err != nil && !errors.Is(err, loop.ErrQueueFull) {
			m.t.Errorf("Send: %v", err)
		}
		s.Release()
		testkit.Eventually(func() bool { return f.Stats().PendingBytes < 1<<20 })
	}
}

// visit writes to the connections of a group by Each.
func (m *mixedModel) visit(r *rand.Rand, byConn map[*loop.Conn]*mixedConn) {
	for range 60 {
		number := r.Uint64()
		err := m.groups[r.IntN(2)].Each(func(c *loop.Conn) {
			if c.Unsent() < 64<<10 {
				byConn[c].write(rand.New(rand.NewPCG(number, 0)), mixedVisit)
			}
		})
		if err != nil {
			m.t.Errorf("Each: %v", err)
		}
	}
}
