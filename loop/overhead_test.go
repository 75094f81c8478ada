package loop

import (
	"slices"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
)

// noKernel is a driver without a kernel: every turn delivers a message to each stream, and takes
// what is sent. The rest is the loop's own work.
type noKernel struct {
	driver.Driver
	streams  []*driver.Stream
	messages int // still to be delivered
	message  [64]byte
	ended    func()
}

func (d *noKernel) Name() string                    { return "none" }
func (d *noKernel) SyncSend() bool                  { return true }
func (d *noKernel) SendBlocked(*driver.Stream) bool { return true }
func (d *noKernel) Wake() error                     { return nil }
func (d *noKernel) Close() error                    { return nil }
func (d *noKernel) Attach(*driver.Stream) error     { return nil }
func (d *noKernel) Resume(s *driver.Stream)         { d.streams = append(d.streams, s) }
func (d *noKernel) Pause(s *driver.Stream) {
	d.streams = slices.DeleteFunc(d.streams, func(x *driver.Stream) bool { return x == s })
}
func (d *noKernel) Release(s *driver.Stream) { s.Up.Released() }

func (d *noKernel) Send(_ *driver.Stream, bufs [][]byte) (n int, err error) {
	for _, b := range bufs {
		n += len(b)
	}
	return n, nil
}

func (d *noKernel) Turn(time.Duration) error {
	for _, s := range d.streams {
		s.Up.Received(d.message[:])
	}
	d.messages -= len(d.streams)
	if d.messages <= 0 {
		d.ended()
	}
	return nil
}

type echoer struct{}

func (echoer) Data(c *Conn, b []byte) (int, error) { return c.Write(b) }

// standingClock is a clock on which no time passes.
type standingClock time.Time

func (c standingClock) Now() time.Time { return time.Time(c) }

// newStandingLoop returns a loop that does not run: its caller runs the parts of a turn. The clock stands still
// in tests, so that what a turn does depends on no budget of time; benchmarks pay for the real one.
func newStandingLoop(tb testing.TB, d driver.Driver) *Loop {
	g := &Group{clock: newClock(nil)}
	if _, benchmark := tb.(*testing.B); !benchmark {
		g.clock.manual = standingClock(g.clock.began)
	}
	if err := g.config.applyDefaultsAndValidate(); err != nil {
		tb.Fatal(err)
	}
	return newLoop(g, d)
}

// BenchmarkMessage measures the loop's own cost of echoing a message of 64 bytes, over 64
// connections.
func BenchmarkMessage(b *testing.B) {
	d := &noKernel{messages: b.N}
	l := newStandingLoop(b, d)
	d.ended = func() { l.abortAll(nil) }
	for range 64 {
		c := l.newConn()
		c.accepted = &Listener{accept: func(*Conn) Handler { return echoer{} }}
		c.attach()
	}
	l.g.running.Add(1)
	b.ReportAllocs()
	b.ResetTimer()
	l.run()
}
