package conformance

import "github.com/pollux-io/pollux/sock"

// outgoing is what a conn sends: text, from copies that are spoilt as soon as their
// memory is free. What a driver reads later than it may arrives spoilt.
type outgoing struct {
	goal int      // how many bytes are to be sent
	done int      // how many the driver says were taken
	owed int      // how many of the rest are under way; told by Sent
	held [][]byte // copies that the driver may still read
	err  error
	odd  uint32
}

// send sends bytes until goal of them are sent in all, and goes on at each Sent.
func (c *conn) send(goal int) {
	c.out.goal = goal
	c.goOn()
}

func (c *conn) goOn() {
	o := &c.out
	for o.err == nil && !o.pending() && o.done < o.goal && !c.given {
		c.sendOnce(min(o.goal-o.done, o.size()))
	}
}

func (o *outgoing) pending() bool { return o.held != nil }

// size is odd in both senses: around the sizes at which buffers end.
func (o *outgoing) size() int {
	sizes := [...]int{1, 7, 1000, 4095, 4096, 4097, 16 << 10, 65_535, 64<<10 + 1, 128 << 10, 300_000}
	o.odd = o.odd*1664525 + 1013904223
	return sizes[o.odd>>16%uint32(len(sizes))]
}

// sendOnce is one Send, of size bytes in one slice or several.
func (c *conn) sendOnce(size int) {
	o := &c.out
	b := append([]byte(nil), text[o.done:o.done+size]...)
	bufs := [][]byte{b}
	if o.odd>>8%3 == 0 {
		i, j := size/3, size/2
		bufs = [][]byte{b[:i], nil, b[i:j], b[j:]}
	}
	var n int
	c.h.call("Send", func() { n, o.err = c.h.drv.Send(&c.Stream, bufs) })
	if n < 0 || n > size {
		c.h.Errorf("Send(%d bytes) = %d", size, n)
	}
	if o.err == sock.ErrWouldBlock {
		c.h.Error("Send returned ErrWouldBlock: that is a short send and a Sent to come")
	}
	o.done += n
	if n == size || o.err != nil {
		spoil(b)
		return
	}
	o.owed = size - n
	o.held = [][]byte{b}
	if c.h.drv.SyncSend() {
		spoil(b)
	}
}

// sent is what Sent tells.
func (c *conn) sent(n int, err error) {
	o := &c.out
	switch {
	case !o.pending():
		c.h.Errorf("Sent(%d, %v) for nothing", n, err)
	case n < 0 || n > o.owed:
		c.h.Errorf("Sent(%d, %v) of %d bytes", n, err, o.owed)
	}
	o.done += n
	o.err = err
	o.freed()
}

// freed spoils what the driver is done with.
func (o *outgoing) freed() {
	for _, b := range o.held {
		spoil(b)
	}
	o.held, o.owed = nil, 0
}

func spoil(b []byte) {
	for i := range b {
		b[i] = ^b[i]
	}
}
