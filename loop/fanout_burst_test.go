package loop

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/testkit"
)

// countedSends counts the calls of Send, and the slices they send.
type countedSends struct {
	noKernel
	sends, bufs int
	sync        bool
	err         error
}

func (d *countedSends) SyncSend() bool { return d.sync }

func (d *countedSends) Send(s *driver.Stream, bufs [][]byte) (int, error) {
	d.sends++
	d.bufs += len(bufs)
	if d.err != nil {
		return 0, d.err
	}
	return d.noKernel.Send(s, bufs)
}

// A member that fails while a message does not fit is not reset for being slow: what it has received
// would be lost.
func TestL3bFailingMemberIsNotSlow(t *testing.T) {
	l := newStandingLoop(t, &countedSends{sync: true, err: syscall.EPIPE})
	l.awake.Store(true)
	f := NewFanout(FanoutConfig{MaxUnsentBytes: 150, Slow: func(*Conn, *Shared) { t.Error("Slow was called") }})
	c := l.newConn()
	c.phase = open
	if err := f.Add(c); err != nil {
		t.Fatal(err)
	}
	c.Write(make([]byte, 100))
	if err := f.Send(NewShared(make([]byte, 100))); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.requests = 0 // the delivery is the first to send
	c.mu.Unlock()
	l.doInbox()
	if c.phase != failing || f.Len() != 0 {
		t.Errorf("the phase is %v, with %d members, want failing, and 0", c.phase, f.Len())
	}
}

// A loop that ends between Send's look at the members and its request drops the message, and a Fanout
// without members keeps nothing of a loop.
func TestFanoutDropsMessagesOfALoopThatHasEnded(t *testing.T) {
	l := newStandingLoop(t, &countedSends{sync: true})
	f := NewFanout(FanoutConfig{})
	c := l.newConn()
	c.phase = open
	if err := f.Add(c); err != nil {
		t.Fatal(err)
	}
	l.inbox.state = takesNothingNew
	freed := 0
	for range 2 {
		s := NewSharedFunc([]byte("message"), func() { freed++ })
		if err := f.Send(s); err != nil {
			t.Fatal(err)
		}
		s.Release()
	}
	if s := f.Stats(); freed != 2 || s.PendingMessages != 0 || s.PendingBytes != 0 {
		t.Errorf("%d of 2 messages are free: %+v", freed, s)
	}
	f.Remove(c)
	if len(f.parts) != 0 {
		t.Error("the Fanout refers to a loop without members")
	}
}

// All messages that are sent before the loop serves the Fanout make one send for each member, and
// one op of the inbox. Short ones are one slice.
func TestFanoutBurstIsOneSend(t *testing.T) {
	const members, messages = 10, 5
	for _, x := range []struct {
		sync       bool
		size, bufs int
	}{{true, 1000, 1}, {false, 1000, 1}, {true, 20 << 10, messages}, {false, 20 << 10, messages}} {
		d := &countedSends{sync: x.sync}
		l := newStandingLoop(t, d)
		l.awake.Store(true)
		f := NewFanout(FanoutConfig{})
		for range members {
			c := l.newConn()
			c.phase = open
			if err := f.Add(c); err != nil {
				t.Fatal(err)
			}
		}
		s := NewSharedFunc(make([]byte, x.size), func() {})
		burst := func() {
			for range messages {
				if err := f.Send(s); err != nil {
					t.Fatal(err)
				}
			}
			if n := len(l.inbox.ops); n != 1 {
				t.Errorf("%d messages are %d ops of the inbox, want 1", messages, n)
			}
			l.doInbox()
		}
		burst()
		if d.sends != members || d.bufs != members*x.bufs {
			t.Errorf("%+v: %d messages to %d members made %d sends of %d slices, want %d of %d", x, messages, members, d.sends, d.bufs, members, members*x.bufs)
		}
		if n := testing.AllocsPerRun(100, burst); n != 0 && !testkit.Race {
			t.Errorf("%+v: %v allocations for a burst, want 0", x, n)
		}
		if s := l.blocks.Stats(); s.OutBlocks != 0 || f.Stats().PendingBytes != 0 {
			t.Errorf("%+v: %d blocks are in use, and %d bytes pending, want none", x, s.OutBlocks, f.Stats().PendingBytes)
		}
	}
}

// BenchmarkFanout measures the loop's own cost of delivering a message of 64 bytes to one of 64
// members.
func BenchmarkFanout(b *testing.B) {
	for _, sync := range []bool{true, false} {
		b.Run(fmt.Sprintf("SyncSend=%v", sync), func(b *testing.B) {
			l := newStandingLoop(b, &countedSends{sync: sync})
			l.awake.Store(true)
			f := NewFanout(FanoutConfig{})
			const members = 64
			for range members {
				c := l.newConn()
				c.phase = open
				if err := f.Add(c); err != nil {
					b.Fatal(err)
				}
			}
			s := NewShared(make([]byte, 64))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%members == 0 {
					f.Send(s)
					for l.doInbox(); !l.tasks.empty(); {
						l.doInbox()
					}
				}
			}
		})
	}
}
