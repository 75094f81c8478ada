package conformance

import "github.com/pollux-io/pollux/sock"

// outgoing is what a conn sends: text, in copies that are overwritten as soon as the driver must
// no longer read them. What a driver reads too late arrives corrupted.
type outgoing struct {
	goal     int      // how many bytes are to be sent
	done     int      // how many the driver has taken
	inFlight int      // how many of the rest Sent is to report on
	held     [][]byte // copies that the driver may still read
	err      error
	seed     uint32
}

// send sends bytes until the total is goal; each Sent continues it.
func (c *conn) send(goal int) {
	c.out.goal = goal
	c.continueSend()
}

func (c *conn) continueSend() {
	o := &c.out
	for o.err == nil && !o.pending() && o.done < o.goal && !c.gone {
		c.sendOnce(min(o.goal-o.done, o.size()))
	}
}

func (o *outgoing) pending() bool { return o.held != nil }

// size returns a pseudo-random size near the sizes at which buffers end.
func (o *outgoing) size() int {
	sizes := [...]int{1, 7, 1000, 4095, 4096, 4097, 16 << 10, 65_535, 64<<10 + 1, 128 << 10, 300_000}
	o.seed = o.seed*1664525 + 1013904223
	return sizes[o.seed>>16%uint32(len(sizes))]
}

// sendOnce calls Send once, with size bytes in one slice or several.
func (c *conn) sendOnce(size int) {
	o := &c.out
	b := append([]byte(nil), text[o.done:o.done+size]...)
	bufs := [][]byte{b}
	if o.seed>>8%3 == 0 {
		i, j := size/3, size/2
		bufs = [][]byte{b[:i], nil, b[i:j], b[j:]}
	}
	var n int
	c.h.call("Send", func() { n, o.err = c.h.drv.Send(&c.Stream, bufs) })
	if n < 0 || n > size {
		c.h.Errorf("Send(%d bytes) took %d", size, n)
	}
	if o.err == sock.ErrWouldBlock {
		c.h.Error("Send returned ErrWouldBlock; it must return a short count, and call Sent later")
	}
	o.done += n
	if n == size || o.err != nil {
		spoil(b)
		return
	}
	o.inFlight = size - n
	o.held = [][]byte{b}
	if c.h.drv.SyncSend() {
		spoil(b)
	}
}

// sent handles the arguments of Sent.
func (c *conn) sent(n int, err error) {
	o := &c.out
	switch {
	case !o.pending():
		c.h.Errorf("Sent(%d, %v) without a pending Send", n, err)
	case n < 0 || n > o.inFlight:
		c.h.Errorf("Sent(%d, %v), but Send left %d bytes", n, err, o.inFlight)
	}
	o.done += n
	o.err = err
	o.spoilHeld()
}

// spoilHeld overwrites copies that the driver must no longer read.
func (o *outgoing) spoilHeld() {
	for _, b := range o.held {
		spoil(b)
	}
	o.held, o.inFlight = nil, 0
}

func spoil(b []byte) {
	for i := range b {
		b[i] = ^b[i]
	}
}
