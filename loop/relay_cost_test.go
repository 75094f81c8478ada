package loop

import (
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
)

// asyncNoKernel is noKernel whose sends complete later, as those of io_uring.
type asyncNoKernel struct {
	noKernel
	sends []pendingSend
}

type pendingSend struct {
	s *driver.Stream
	n int
}

func (d *asyncNoKernel) SyncSend() bool { return false }

func (d *asyncNoKernel) Send(s *driver.Stream, bufs [][]byte) (int, error) {
	n, _ := d.noKernel.Send(s, bufs)
	d.sends = append(d.sends, pendingSend{s, n})
	return 0, nil
}

// complete completes the sends.
func (d *asyncNoKernel) complete() {
	for _, p := range d.sends {
		p.s.Up.Sent(p.n, nil)
	}
	d.sends = d.sends[:0]
}

// newRelayed returns a loop, which does not run, with n relays on a driver.
func newRelayed(tb testing.TB, drv driver.Driver, n int) (*Loop, []*Conn) {
	skipIfWrapped(tb)
	l := newStandingLoop(tb, drv)
	l.g.loops = []*Loop{l}
	var conns []*Conn
	for i := range 2 * n {
		c := l.newConn()
		c.accepted = &Listener{accept: func(*Conn) Handler { return echoer{} }}
		c.attach()
		if conns = append(conns, c); i%2 == 1 {
			if err := Relay(conns[i-1], c, RelayConfig{}); err != nil {
				tb.Fatal(err)
			}
		}
	}
	for range 3 { // the handlers, Resume
		l.doInbox()
	}
	return l, conns
}

// A relayed message allocates nothing, whether or not the driver sends immediately.
func TestRelayAllocatesNothing(t *testing.T) {
	var message [64]byte
	sync, async := &noKernel{}, &asyncNoKernel{}
	for name, x := range map[string]struct {
		drv      driver.Driver
		complete func()
	}{"immediate sends": {sync, func() {}}, "later sends": {async, async.complete}} {
		l, conns := newRelayed(t, x.drv, 1)
		moved := conns[0].handler.(*relaySide).out.forwarded.Load
		l.wakeUp()
		before := moved()
		n := testing.AllocsPerRun(100, func() {
			conns[0].stream.Up.Received(message[:])
			l.doInbox()
			x.complete()
		})
		if n != 0 {
			t.Errorf("%s: %v allocations a message, want none", name, n)
		}
		if got := moved() - before; got != 101*int64(len(message)) || conns[1].Unsent() != 0 {
			t.Errorf("%s: %d bytes were relayed, and %d are unsent, want %d and none", name, got, conns[1].Unsent(), 101*len(message))
		}
	}
}

// BenchmarkRelayMessage measures the loop's own cost of relaying a message of 64 bytes, over 64
// relays.
func BenchmarkRelayMessage(b *testing.B) {
	d := &noKernel{messages: b.N}
	l, _ := newRelayed(b, d, 32)
	d.ended = func() { l.abortAll(nil) }
	l.g.running.Add(1)
	b.ReportAllocs()
	b.ResetTimer()
	l.run()
}
