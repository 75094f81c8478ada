package loop

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
)

// lateSends is a driver whose sends are reported by a later turn, each after a number of them.
type lateSends struct {
	noKernel
	turns   int // after which a send is reported; 0: never
	blocked bool
	members map[*driver.Stream]*lateMember
}

type lateMember struct {
	c        *Conn
	late     bool // else Send takes all
	inFlight []byte
	left     int // turns
	got      bytes.Buffer
}

func (d *lateSends) SyncSend() bool                  { return false }
func (d *lateSends) SendBlocked(*driver.Stream) bool { return d.blocked }

func (d *lateSends) Send(s *driver.Stream, bufs [][]byte) (int, error) {
	m, b := d.members[s], bytes.Join(bufs, nil)
	if !m.late {
		m.got.Write(b)
		return len(b), nil
	}
	m.inFlight, m.left = b, d.turns
	return 0, nil
}

// turn reports the sends that are due.
func (d *lateSends) turn() {
	for _, m := range d.members {
		if m.inFlight == nil || m.left == 0 {
			continue
		}
		if m.left--; m.left == 0 {
			b := m.inFlight
			m.inFlight = nil
			m.got.Write(b)
			m.c.sent(len(b), nil)
		}
	}
}

// lateFanout is a Fanout with a member whose sends are reported late, and one whose sends are not. It
// calls slow for each message that one of them does not get.
func lateFanout(t *testing.T, d *lateSends, limit int, slow func(late bool)) (l *Loop, f *Fanout, late, other *lateMember) {
	l = newStandingLoop(t, d)
	l.awake.Store(true)
	f = NewFanout(FanoutConfig{MaxUnsentBytes: limit, Slow: func(c *Conn, _ *Shared) { slow(d.members[&c.stream].late) }})
	d.members = map[*driver.Stream]*lateMember{}
	for _, isLate := range []bool{true, false} {
		c := l.newConn()
		c.phase = open
		m := &lateMember{c: c, late: isLate}
		d.members[&c.stream] = m
		if err := f.Add(c); err != nil {
			t.Fatal(err)
		}
		if isLate {
			late = m
		} else {
			other = m
		}
	}
	return l, f, late, other
}

// A member whose sends the driver reports turns later is not slow: it gets every message, in order, and
// the others do not get them twice.
func TestFanoutWaitsForReportsOfSends(t *testing.T) {
	for turns := 1; turns <= 5; turns++ {
		for _, size := range []int{30, 100, 250} { // several in a batch, which are joined, or one
			d := &lateSends{turns: turns}
			l, f, late, other := lateFanout(t, d, 250, func(late bool) { t.Errorf("%d turns: a member is slow; late: %v", turns, late) })
			var want []byte
			for i := range 20 {
				b := bytes.Repeat([]byte{byte('a' + i)}, size)
				want = append(want, b...)
				if err := f.Send(NewShared(b)); err != nil {
					t.Fatal(err)
				}
				if i%3 == 0 { // the next ones come while the batch waits
					l.doInbox()
				}
			}
			for range 20 * (turns + 1) {
				d.turn()
				l.doInbox()
			}
			what := fmt.Sprintf("%d turns, %d bytes", turns, size)
			if s := f.Stats(); s.PendingMessages != 0 || s.Deliveries != 40 || !l.tasks.empty() {
				t.Errorf("%s: %+v", what, s)
			}
			if !bytes.Equal(late.got.Bytes(), want) || !bytes.Equal(other.got.Bytes(), want) {
				t.Errorf("%s: members got %d and %d bytes, want %d, in order", what, late.got.Len(), other.got.Len(), len(want))
			}
		}
	}
}

// A member is slow at once if the driver reports that its peer takes no more.
func TestFanoutDoesNotWaitForPeers(t *testing.T) {
	slow := 0
	d := &lateSends{blocked: true}
	l, f, _, other := lateFanout(t, d, 100, func(late bool) {
		if slow++; !late {
			t.Error("the other member is slow")
		}
	})
	for range 3 {
		f.Send(NewShared(make([]byte, 100)))
		l.doInbox()
	}
	if slow != 2 || other.got.Len() != 300 {
		t.Errorf("one member missed %d of 3 messages, want 2; the other got %d bytes, want 300", slow, other.got.Len())
	}
}

// A member keeps the others waiting for a bounded number of turns.
func TestFanoutWaitsForABoundedNumberOfTurns(t *testing.T) {
	slow := 0
	d := &lateSends{}
	l, f, _, other := lateFanout(t, d, 100, func(late bool) { slow++ })
	for range 3 {
		f.Send(NewShared(make([]byte, 100)))
	}
	for range 2 * (maxWaits + 2) {
		l.doInbox()
	}
	if slow != 2 || other.got.Len() != 300 || !l.tasks.empty() {
		t.Errorf("one member missed %d of 3 messages, want 2; the other got %d bytes, want 300", slow, other.got.Len())
	}
}
