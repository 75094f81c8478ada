package loop

import (
	"errors"
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
)

// releasesLate is asyncNoKernel that a test has release streams.
type releasesLate struct {
	asyncNoKernel
	released []*driver.Stream
}

func (d *releasesLate) Pause(*driver.Stream)     {}
func (d *releasesLate) Release(s *driver.Stream) { d.released = append(d.released, s) }

// release completes the sends in flight, each with a number of bytes, and then releases the streams.
func (d *releasesLate) release(taken int) {
	for _, p := range d.sends {
		p.s.Up.Sent(taken, nil)
	}
	d.sends = d.sends[:0]
	released := d.released
	d.released = nil
	for _, s := range released {
		s.Up.Released()
	}
}

// RelayEnd counts the bytes that the kernel has taken of a send that was in progress when the connection
// was aborted, and no others.
func TestRelayEndCountsSendsInProgress(t *testing.T) {
	for _, taken := range []int{0, 1, 63, 64} {
		d := &releasesLate{}
		l, conns := newRelayed(t, d, 1)
		var end *RelayEnd
		conns[0].handler.(*relaySide).relay.config.OnEnd = func(e RelayEnd) { end = &e }
		conns[0].stream.Up.Received(make([]byte, 64))
		l.doInbox() // the send begins
		conns[0].stream.Up.Received(make([]byte, 100))
		for _, c := range []*Conn{conns[1], conns[0]} {
			c.Abort()
			l.doInbox()
			d.release(taken)
		}
		if end == nil || !errors.Is(end.Err, ErrAborted) || end.BytesAToB != int64(taken) || end.BytesBToA != 0 {
			t.Errorf("the kernel took %d bytes of the send in progress; OnEnd got %+v", taken, end)
		}
		if n := l.counts.bytesOut; n != uint64(taken) {
			t.Errorf("BytesOut is %d, want %d", n, taken)
		}
	}
}

// L3: the function of WriteOwned gets nil if the kernel has taken all of its bytes, even if the
// connection was aborted meanwhile.
func TestL3OwnedBytesTakenAfterAbort(t *testing.T) {
	d := &releasesLate{}
	l, conns := newRelayed(t, d, 1)
	c := conns[0]
	c.SetHandler(echoer{})
	l.doInbox()
	var errs [2]error
	for i := range errs {
		errs[i] = errors.New("not called")
		c.WriteOwned(make([]byte, 50), func(err error) { errs[i] = err })
	}
	l.doInbox()
	c.Abort()
	l.doInbox()
	d.release(70)
	if errs[0] != nil || !errors.Is(errs[1], ErrAborted) {
		t.Errorf("the kernel took 70 bytes of 50 and 50; their functions got %v and %v", errs[0], errs[1])
	}
}
