package tlsconn_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// A talker is a handler that sends data in random pieces, by all of the ways to write, and receives in random pieces, with
// pauses. It ends its side when all is sent.
type talker struct {
	t      *testing.T
	rnd    *rand.Rand
	data   []byte // to be sent
	got    []byte
	ended  bool // the peer's side
	owned  int  // bytes given to WriteOwned, less those whose function was called
	order  string
	closed chan error
}

func (k *talker) Opened(c *loop.Conn) {
	k.order += "O"
	k.talk(c)
}

func (k *talker) Drained(c *loop.Conn) { k.talk(c) }

// talk writes until the buffer is full, or all is written.
func (k *talker) talk(c *loop.Conn) {
	for len(k.data) > 0 {
		n := min(len(k.data), 1+k.rnd.IntN(1<<k.rnd.IntN(18)))
		b := k.data[:n]
		var err error
		switch k.rnd.IntN(4) {
		case 0:
			if _, err = c.WriteOwned(b, func(err error) {
				if err != nil {
					k.t.Error("WriteOwned:", err)
				}
				k.owned -= n
			}); err == nil {
				k.owned += n
			}
		case 1:
			_, err = c.Writev([][]byte{b[:n/3], b[n/3 : n/2], b[n/2:]})
		default:
			_, err = c.Write(b)
		}
		if errors.Is(err, loop.ErrBufferFull) {
			return
		}
		if err != nil {
			k.t.Error(err)
			return
		}
		k.data = k.data[n:]
		if k.rnd.IntN(8) == 0 {
			c.Loop().AfterFunc(time.Duration(k.rnd.IntN(1000))*time.Microsecond, func() { k.talk(c) })
			return
		}
	}
	if k.ended {
		c.Close()
	} else {
		c.CloseWrite()
	}
}

func (k *talker) Data(c *loop.Conn, b []byte) (int, error) {
	n := len(b)
	if k.rnd.IntN(4) == 0 {
		n = k.rnd.IntN(n + 1)
		c.Pause()
		c.Loop().AfterFunc(time.Duration(k.rnd.IntN(5000))*time.Microsecond, func() { c.Resume() })
	}
	k.got = append(k.got, b[:n]...)
	return n, nil
}

func (k *talker) ReadClosed(c *loop.Conn) {
	k.order += "R"
	if k.ended = true; len(k.data) == 0 {
		c.Close()
	}
}

func (k *talker) Closed(_ *loop.Conn, why error) {
	k.order += "C"
	k.closed <- why
}

// Every byte arrives, in order, in both directions, and then close_notify, however the bytes are cut, and whatever a
// driver may do.
func TestBytesAreExact(t *testing.T) {
	seeds := uint64(60)
	switch {
	case testkit.Long():
		seeds = 500
	case testkit.Race:
		seeds = 12
	}
	sides(t, func(t *testing.T, s side) {
		for seed := range seeds {
			testExact(t, s, seed)
			if t.Failed() {
				t.Fatal("seed", seed)
			}
		}
	})
}

// maxSegments is about how many segments a random test sends in each direction.
const maxSegments = 500

func testExact(t *testing.T, s side, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	segment := 1 + rnd.IntN(1<<rnd.IntN(15))
	size := func() int { return min(rnd.IntN(1<<rnd.IntN(20)), segment*maxSegments) }
	s.network = looptest.Config{Seed: seed, MaxTime: 10 * time.Minute, Link: looptest.Link{
		Latency: time.Duration(rnd.IntN(10)) * time.Millisecond, Jitter: time.Duration(rnd.IntN(10)) * time.Millisecond,
		SegmentBytes: segment, RandomSegments: rnd.IntN(2) == 0,
	}}
	if rnd.IntN(3) > 0 {
		s.network.Adversity = looptest.Adverse()
	}
	if rnd.IntN(2) > 0 {
		s.network.Faults = looptest.Faults{PartialReads: 0.2, PartialWrites: 0.2, WouldBlock: 0.1}
	}
	s.group = loop.Config{HighWatermarkBytes: 64 << 10, MaxUnsentBytes: 256 << 10}
	there, back := text(size()), text(size())
	k := &talker{t: t, rnd: rnd, data: back, closed: make(chan error, 1)}
	peer, _, _ := s.connect(t, k)
	if rnd.IntN(2) == 0 {
		peer.SetReadBuffer(2000 + rnd.IntN(30000))
	}
	c := s.other(peer)
	if err := c.Handshake(); err != nil { // before there are two goroutines: a bubble's clock stops while one waits for a mutex
		t.Error(err)
	}
	go func() {
		for b := there; len(b) > 0; {
			n := min(len(b), 1+int(seed*7919)%30011)
			if _, err := c.Write(b[:n]); err != nil {
				t.Error(err)
				return
			}
			b = b[n:]
		}
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, back) {
		t.Errorf("the peer got %d bytes, %v; want %d, and close_notify", len(got), err, len(back))
	}
	if why := <-k.closed; why != nil || k.order != "ORC" || k.owned != 0 {
		t.Errorf("Closed got %v; callbacks %s; %d bytes of WriteOwned are open", why, k.order, k.owned)
	}
	synctest.Wait()
	if !bytes.Equal(k.got, there) {
		t.Errorf("the handler got %d bytes, want %d", len(k.got), len(there))
	}
	peer.Close()
}
