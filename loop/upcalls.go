package loop

import "github.com/pollux-io/pollux/internal/driver"

// upcalls is Conn as its driver sees it: where a driver's events enter the loop. Each upcall
// either marks the loop as awake, or does what other goroutines have requested in the meantime,
// and then hands over to the file of what it reports.
type upcalls Conn

var _ driver.StreamUpcalls = (*upcalls)(nil)

// Connected implements driver.StreamUpcalls.
func (u *upcalls) Connected(err error) {
	c := (*Conn)(u)
	c.loop.wakeUp()
	if c.phase == starting {
		c.layerConnected(err)
		return
	}
	c.connected(err)
}

// Received implements driver.StreamUpcalls. See beginCallback about its length; it marks the
// loop as awake there. A layer may call it while the loop does the operations of its inbox, which does
// not have those any more.
func (u *upcalls) Received(b []byte) bool {
	c := (*Conn)(u)
	if c.loop.inbox.size.Load() > 0 || c.flags&hasLayer != 0 {
		c.servePending()
	}
	c.loop.counts.bytesIn += uint64(len(b))
	if c.flags&hasIdleTimeout != 0 {
		c.extras.lastActive = c.loop.clock()
	}
	if c.phase != open || c.pauses != 0 || c.in != nil {
		return c.receivedSlow(b)
	}
	n := c.data(b)
	if n < len(b) || c.callbackRequests != 0 {
		c.receivedPart(b[n:])
	}
	return c.pauses == 0 && c.phase == open || c.receives()
}

// ReceiveEnded implements driver.StreamUpcalls.
func (u *upcalls) ReceiveEnded(err error) {
	c := (*Conn)(u)
	if c.loop.inbox.size.Load() > 0 || c.flags&hasLayer != 0 {
		c.servePending()
	}
	c.receiveEnded(err)
}

// Sent implements driver.StreamUpcalls.
func (u *upcalls) Sent(n int, err error) {
	c := (*Conn)(u)
	c.loop.wakeUp()
	c.sent(n, err)
}

// Failed implements driver.StreamUpcalls.
func (u *upcalls) Failed(err error) {
	c := (*Conn)(u)
	c.loop.wakeUp()
	c.failed(err)
}

// Released implements driver.StreamUpcalls: the last upcall of a stream.
func (u *upcalls) Released() {
	c := (*Conn)(u)
	c.loop.wakeUp()
	c.callEnd()
}
