//go:build unix

package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// L10: a member of two Fanouts that is detached in the middle of their messages has got whole messages,
// in order, and nothing after that: Detach's function gets a connection to which nobody writes any more.
func TestL10DetachFanoutMember(t *testing.T) {
	skipWithLayer(t, needsDetach)
	testkit.CheckLeaks(t)
	const members, messages = 10, 2000
	g := group(t, loop.Config{Loops: 2, Logger: quiet()})
	fanouts := [2]*loop.Fanout{loop.NewFanout(loop.FanoutConfig{}), loop.NewFanout(loop.FanoutConfig{})}
	a := acceptN(t, g, members)
	for _, x := range a {
		for _, f := range fanouts {
			f.Add(x.c)
		}
	}
	var all sync.WaitGroup
	var sent atomic.Int64
	for i, f := range fanouts {
		all.Go(func() {
			for n := range messages {
				s := shared(fmt.Sprintf("%c%05d", 'a'+i, n))
				if !testkit.Eventually(func() bool { return !errors.Is(f.Send(s), loop.ErrQueueFull) }) {
					t.Error("a message is not sent: the queue remains full")
					return
				}
				sent.Add(1)
			}
		})
	}
	for i, x := range a {
		all.Go(func() {
			if !testkit.Eventually(func() bool { return sent.Load() >= int64(i+1)*messages*2/(members+1) }) {
				t.Errorf("only %d messages were sent", sent.Load())
			}
			err := x.c.Detach(func(c net.Conn, _ []byte, err error) {
				if err != nil {
					t.Errorf("Detach: %v", err)
					return
				}
				go func() {
					io.WriteString(c, "z99999")
					c.Close()
				}()
			})
			if err != nil {
				t.Errorf("Detach: %v", err)
			}
		})
		all.Go(func() { checkDetachedStream(t, x.peer) })
	}
	all.Wait()
	for _, x := range a {
		if why := receive(t, x.closed, "Closed"); !errors.Is(why, loop.ErrDetached) {
			t.Errorf("Closed got %v, want ErrDetached", why)
		}
	}
	for _, f := range fanouts {
		ok := testkit.Eventually(func() bool { return f.Stats().PendingMessages == 0 })
		if s := f.Stats(); !ok || s.Members != 0 || s.PendingBytes != 0 {
			t.Errorf("after all members were detached: %+v", s)
		}
	}
	shutdownAll(t, g)
}

// checkDetachedStream reads messages of two Fanouts, each numbered without gaps, up to the last, which was
// written after Detach.
func checkDetachedStream(t *testing.T, peer net.Conn) {
	next := map[byte]int{}
	b := make([]byte, 6)
	for {
		if _, err := io.ReadFull(peer, b); err != nil {
			t.Errorf("reading a message: %v", err)
			return
		}
		if string(b) == "z99999" {
			break
		}
		if want := fmt.Sprintf("%c%05d", b[0], next[b[0]]); string(b) != want {
			t.Errorf("got %q, want %q", b, want)
			return
		}
		next[b[0]]++
	}
	if n, err := peer.Read(b); err != io.EOF {
		t.Errorf("after the last message the peer read %q, %v, want EOF", b[:n], err)
	}
}

// hopper is a connection that echoes, and moves from loop to loop of several groups, until one refuses it.
type hopper struct {
	t      *testing.T
	groups []*loop.Group
	mu     sync.Mutex
	r      *rand.Rand
	queued *queuedAttach // until accept is called
	over   [3]bool       // groups whose Shutdown has returned
	moves  atomic.Int64
	cut    atomic.Bool // before its peer had closed its side
	ended  chan bool
}

// queuedAttach is a call of Attach whose function accept has not been called. If the group has ended
// by then, it never is: the connection is closed.
type queuedAttach struct {
	group    int
	returned bool // Attach has, and without an error
}

// attach gives a connection to a random group, or echoes itself if all refuse it.
func (h *hopper) attach(c net.Conn, unread []byte) {
	h.mu.Lock()
	order := h.r.Perm(len(h.groups))
	h.mu.Unlock()
	for _, i := range order {
		q := &queuedAttach{group: i}
		h.update(func() { h.queued = q })
		err := h.groups[i].Attach(c, unread, func(*loop.Conn) loop.Handler {
			h.update(func() { h.queued = nil })
			return h.handler()
		})
		if err == nil {
			h.moves.Add(1)
			h.update(func() { q.returned = true })
			return
		}
		if !errors.Is(err, loop.ErrClosed) {
			h.t.Errorf("Attach: %v", err)
		}
	}
	go func() { // all groups have ended
		defer close(h.ended)
		defer c.Close()
		c.Write(unread)
		io.Copy(c, c)
	}()
}

func (h *hopper) handler() loop.Handler {
	moving := false
	return &funcs{
		data: func(c *loop.Conn, b []byte) (int, error) {
			if moving {
				return 0, nil
			}
			n, err := c.Write(b)
			h.mu.Lock()
			moving = h.r.IntN(4) == 0
			h.mu.Unlock()
			if moving {
				if err := c.Detach(func(s net.Conn, unread []byte, err error) {
					if err != nil {
						h.end(err)
						return
					}
					go h.attach(s, append([]byte(nil), unread...))
				}); err != nil { // it is being cut off
					moving = false
				}
			}
			return n, err
		},
		closed: func(_ *loop.Conn, why error) {
			if !errors.Is(why, loop.ErrDetached) && !moving {
				h.end(why)
			}
		},
	}
}

// update calls f with the lock held, and ends the connection if a group has ended instead of opening it.
func (h *hopper) update(f func()) {
	h.mu.Lock()
	f()
	dropped := h.queued != nil && h.queued.returned && h.over[h.queued.group]
	if dropped {
		h.queued = nil
	}
	h.mu.Unlock()
	if dropped {
		h.end(loop.ErrClosed)
	}
}

// end is called when the connection has ended on a loop; why is nil if its peer has closed its side.
func (h *hopper) end(why error) {
	h.cut.Store(why != nil)
	close(h.ended)
}

// L8, L10: connections that move between groups, while these shut down one after the other: each is either
// cut off by the end of its group, or goes on elsewhere; no byte is lost, repeated or reordered up to
// that, and nothing is left behind.
func TestL10MoveDuringShutdown(t *testing.T) {
	skipWithLayer(t, needsDetach)
	testkit.CheckLeaks(t)
	rounds := uint64(3)
	if testkit.Long() {
		rounds = 100
	}
	for seed := range rounds {
		var groups []*loop.Group
		for range len(hopper{}.over) {
			groups = append(groups, group(t, loop.Config{Loops: 1, Logger: quiet()}))
		}
		skipUnlessAttaches(t, groups[0])
		var all sync.WaitGroup
		var hoppers []*hopper
		for i := range 12 {
			own, peer := netPair(t, []string{"tcp", "unix"}[i%2])
			h := &hopper{t: t, groups: groups, r: rand.New(rand.NewPCG(seed, uint64(i))), ended: make(chan bool)}
			hoppers = append(hoppers, h)
			h.attach(own, nil)
			all.Go(func() {
				sent := make(chan int, 1)
				go func() { sent <- writeNumbered(peer, 2<<20, "FIN", nil) }()
				got := readNumbered(t, peer)
				receive(t, h.ended, "the end of a connection")
				if n := receive(t, sent, "the peer's writer"); got > n || got < n && !h.cut.Load() {
					t.Errorf("seed %d: a connection that was not cut off echoed %d of %d bytes", seed, got, n)
				}
				peer.Close()
			})
		}
		r := rand.New(rand.NewPCG(seed, 99))
		for _, i := range r.Perm(len(groups)) {
			moves := func() (n int64) {
				for _, h := range hoppers {
					n += h.moves.Load()
				}
				return n
			}
			before := moves()
			testkit.Eventually(func() bool { return moves() > before+20 || allEnded(hoppers) })
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(10))*time.Millisecond)
			groups[i].Shutdown(ctx)
			cancel()
			for _, h := range hoppers {
				h.update(func() { h.over[i] = true })
			}
			if n := groups[i].Conns(); n != 0 {
				t.Errorf("seed %d: %d connections are left after Shutdown", seed, n)
			}
		}
		all.Wait()
	}
}

func allEnded(hoppers []*hopper) bool {
	for _, h := range hoppers {
		select {
		case <-h.ended:
		default:
			return false
		}
	}
	return true
}
