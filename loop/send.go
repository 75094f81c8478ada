package loop

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pollux-io/pollux/internal/sendqueue"
	"github.com/pollux-io/pollux/sock"
)

// stagingBytes is how much the callback of one connection may write before it is queued, unless
// the high watermark is lower.
const stagingBytes = 64 << 10

// Write takes all of b, to be sent in order, or nothing: ErrBufferFull if more bytes than
// MaxUnsentBytes would be unsent, ErrTooLarge if b alone has more, ErrClosed after Close or
// CloseWrite, and, wrapped with the cause, after sending has failed. b may be reused
// immediately. Write never blocks, and what is written during one turn is sent together.
//
// With a handler of package tlsconn, Write returns ErrNotOpen until the handshake is done: from the return of accept, or the call
// of SetHandler, until Opened. What was written before that, by any goroutine, is sent in plaintext, before the handshake.
// So a goroutine that gets the connection in accept must not write before Opened.
func (c *Conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	if c.inCallback() && c.out == nil && c.watermark == 0 && c.acceptsWritesLocked() {
		// The ordinary case. The staging buffer is smaller than any limit of Config.
		if l := c.loop; len(b) < l.direct && len(b) <= l.staging.Space() {
			l.staging.Append(b)
			c.mu.Unlock()
			return len(b), nil
		}
	}
	return c.writeAndUnlock(b)
}

func (c *Conn) writeAndUnlock(b []byte) (int, error) {
	if err := c.admitWriteLocked(len(b)); err != nil {
		c.mu.Unlock()
		return 0, c.opError("write", err)
	}
	if c.out == nil && c.inCallback() && c.writeStagedLocked(b) {
		c.watermark.sentImmediately(c.unsentLocked())
		c.mu.Unlock()
		return len(b), nil
	}
	c.queueLocked(b)
	c.submitAndUnlock(wantFlush)
	return len(b), nil
}

// Writev is Write for several slices: it takes all of them, or nothing.
func (c *Conn) Writev(bufs [][]byte) (int, error) {
	total := 0
	for _, b := range bufs {
		total += min(len(b), math.MaxInt-total) // the same slice may be in bufs many times
	}
	c.mu.Lock()
	if err := c.admitWriteLocked(total); err != nil {
		c.mu.Unlock()
		return 0, c.opError("write", err)
	}
	for _, b := range bufs {
		if c.out == nil && c.inCallback() && c.writeStagedLocked(b) {
			continue
		}
		c.queueLocked(b)
	}
	c.watermark.sentImmediately(c.unsentLocked())
	c.submitAndUnlock(wantFlush)
	return total, nil
}

// WriteOwned is Write without a copy: b must not change until done is called, on the loop, once:
// with nil when the kernel has taken all of b (with TLS: what it was encrypted to), or with an error if it will not. It is called
// before Closed. If WriteOwned itself returns an error, done is not called.
//
// done may be nil: for memory that never changes again. b may be empty: done is called once
// everything written before is sent. One slice may be given to many connections: it is only
// read, and may be reused when the last done has been called.
func (c *Conn) WriteOwned(b []byte, done func(error)) (int, error) {
	c.mu.Lock()
	if err := c.admitWriteLocked(len(b)); err != nil {
		c.mu.Unlock()
		return 0, c.opError("write", err)
	}
	c.unstageLocked()
	c.makeQueueLocked().AppendOwned(b, done)
	c.submitAndUnlock(wantFlush)
	return len(b), nil
}

// admitWriteLocked returns an error if n more bytes cannot be written, and else counts them for
// back-pressure. c.mu must be held.
func (c *Conn) admitWriteLocked(n int) error {
	if !c.acceptsWritesLocked() {
		return c.writeErrorLocked()
	}
	return c.watermark.admit(n, c.unsentLocked(), c.watermarksLocked().high, c.loop.g.config.MaxUnsentBytes)
}

// unsentLocked returns the number of unsent bytes. c.mu must be held.
func (c *Conn) unsentLocked() int {
	n := 0
	if c.out != nil {
		n = c.out.Len()
	}
	if c.inCallback() {
		n += c.loop.staging.Len()
	}
	return n
}

// A write of so many bytes in a callback goes to the kernel immediately, as copying it would
// cost more than it saves in system calls. For a driver that sends a turn's writes together the
// limit is higher: each system call between callbacks fills the processor's caches with the
// kernel's code.
const (
	directBytes       = 16 << 10
	directBytesQueued = 64 << 10 // for drivers without SyncSend
)

// writeStagedLocked copies b to the loop's staging buffer, or sends it immediately if it is
// large. It returns false if b must be queued. c.mu must be held; the connection must be in its
// callback, with nothing queued.
func (c *Conn) writeStagedLocked(b []byte) bool {
	l := c.loop
	if len(b) < l.direct || c.flags&hasLayer != 0 {
		if len(b) > l.staging.Space() {
			return false
		}
		l.staging.Append(b)
		return true
	}
	if l.staging.Len() > 0 {
		c.unstageLocked()
		return false
	}
	c.writeDirectlyLocked(b)
	return true
}

// writeDirectlyLocked writes b to the socket, and queues what that does not take. c.mu must be
// held; nothing may be queued.
func (c *Conn) writeDirectlyLocked(b []byte) {
	n, err := c.stream.Write(b)
	c.loop.sentDirectly.Add(uint64(n))
	c.noteSentLocked(n)
	if n < len(b) {
		c.queueLocked(b[n:])
		if err != sock.ErrWouldBlock {
			// The system reports the error only once: flush returns it.
			c.failWritesLocked(err)
		}
		c.requests |= wantFlush
	}
}

// unstageLocked moves the contents of the staging buffer to the queue. c.mu must be held.
func (c *Conn) unstageLocked() {
	if c.inCallback() && c.loop.staging.Len() > 0 {
		c.makeQueueLocked().Append(c.loop.staging.Take())
	}
}

// queueLocked adds a copy of b to the queue, after the contents of the staging buffer. c.mu must
// be held.
func (c *Conn) queueLocked(b []byte) {
	if len(b) == 0 {
		return
	}
	c.unstageLocked()
	c.makeQueueLocked().Append(b)
}

func (c *Conn) makeQueueLocked() *sendqueue.Queue {
	if c.out == nil {
		c.out = sendqueue.Get(c.loop.blocks)
	}
	return c.out
}

// consumeLocked removes n sent bytes from the queue. The functions of WriteOwned and NewSharedFunc
// that are due are collected for callDone. c.mu must be held.
func (c *Conn) consumeLocked(n int) {
	if c.out != nil {
		c.loop.done = c.out.Consume(n, c.loop.done)
		c.putEmptyQueueLocked()
	} else if n != 0 {
		panic(fmt.Sprintf("loop: driver %s has sent %d bytes, and none are queued", c.loop.drv.Name(), n))
	}
}

// dropQueuedLocked removes everything from the queue; the done functions of WriteOwned get why.
// c.mu must be held.
func (c *Conn) dropQueuedLocked(why error) {
	if c.out != nil {
		c.noteDroppedLocked(c.out.Len())
		c.loop.done = c.out.Drop(why, c.loop.done)
		c.putEmptyQueueLocked()
	}
}

// putEmptyQueueLocked releases the queue if it is empty: an idle connection has none.
func (c *Conn) putEmptyQueueLocked() {
	if c.out.Empty() {
		c.out.Put()
		c.out = nil
	}
}

// flush sends as much as the kernel takes.
func (c *Conn) flush() {
	c.mu.Lock()
	f := c.flushLocked()
	c.mu.Unlock()
	c.afterFlush(f)
}

// flushResult is the outcome of a flush.
type flushResult struct {
	unsent  int
	timeout time.Duration // the write timeout, if something is unsent
	flow    flow          // what follows for reading
	fin     bool          // FIN is next
	err     error
	again   bool // the budget is used up, and the kernel might take more
}

// flushLocked sends until it would block, nothing is unsent, or the budget is used up. The
// staging buffer is sent first: it is used only while nothing is queued. Afterwards it is empty.
// c.mu must be held.
func (c *Conn) flushLocked() flushResult {
	l := c.loop
	if c.phase == connecting || c.phase.gone() || c.flags&sendPending != 0 {
		c.unstageLocked()
		return c.flushResultLocked()
	}
	if x := c.extras; x != nil && x.sendFailed != nil {
		c.unstageLocked()
		return flushResult{err: x.sendFailed}
	}
	sent := 0
	if l.staging.Len() > 0 {
		staged := l.staging.Take()
		n, err := c.sendLocked(append(l.iov[:0], staged), len(staged))
		if err != nil {
			return flushResult{err: err}
		}
		sent = n
		c.queueLocked(staged[n:])
	}
	for c.out != nil && c.flags&sendPending == 0 {
		if c.out.Len() == 0 {
			c.consumeLocked(0) // empty slices of WriteOwned; FIN may have been sent before them
			continue
		}
		if sent >= l.g.config.TurnBudgetBytes {
			f := c.flushResultLocked()
			f.again = true // other connections first
			return f
		}
		bufs, total := c.out.Gather(l.iov[:0])
		n, err := c.sendLocked(bufs, total)
		clear(bufs)
		if err != nil {
			return flushResult{err: err}
		}
		sent += n
		c.consumeLocked(n)
	}
	return c.flushResultLocked()
}

func (c *Conn) flushResultLocked() flushResult {
	f := flushResult{unsent: c.unsentLocked()}
	f.fin = c.writeHalf == finRequested && c.upcoming&layerRequested == 0 // the end is that of the stream above the layer
	if f.unsent > 0 {
		f.timeout = c.writeTimeoutLocked()
	}
	f.flow = c.flowLocked(f.unsent)
	return f
}

// sendLocked passes bufs, of total bytes, to the driver and returns how many bytes it took.
func (c *Conn) sendLocked(bufs [][]byte, total int) (int, error) {
	l := c.loop
	var n int
	var err error
	if c.flags&hasLayer == 0 { // not c.driver(), which converts one interface to another for each message
		n, err = l.drv.Send(&c.stream, bufs)
	} else {
		n, err = c.layer().Send(&c.stream, bufs)
	}
	l.counts.bytesOut += uint64(n)
	c.noteSentLocked(n)
	if err == nil && n < total {
		c.flags |= sendPending
	}
	return n, err
}

// noteSentLocked records that n bytes were sent, for timeouts. c.mu must be held.
func (c *Conn) noteSentLocked(n int) {
	if n > 0 && (c.flags&(hasIdleTimeout|timingSend) != 0 || c.phase == closing) {
		now := c.loop.clock()
		c.extras.lastActive = now
		if c.flags&timingSend != 0 {
			c.extras.rare.lastSent = now
		}
		if r := c.extras.rare; r != nil {
			r.sent(n)
		}
	}
}

// plain reports whether afterFlush has nothing to do: the ordinary case.
func (f *flushResult) plain(c *Conn) bool {
	return *f == flushResult{} && c.phase == open && c.flags&timingSend == 0 && len(c.loop.done) == 0
}

// afterFlush acts on the outcome of a flush. c.mu must not be held.
func (c *Conn) afterFlush(f flushResult) {
	if f.plain(c) {
		return
	}
	c.loop.callDone()
	if c.phase.gone() {
		return
	}
	if f.err != nil {
		c.ioFailed(f.err)
		return
	}
	if c.phase.intact() { // later, received bytes are dropped
		c.applyFlow(f.flow)
	}
	c.watchSending(&f)
	switch {
	case f.again:
		c.submitNextTurn(wantFlush)
	case f.unsent == 0:
		c.allSent(f.fin)
	}
}

// callDone calls the due functions of WriteOwned and NewSharedFunc, even if one of them ends the
// goroutine.
func (l *Loop) callDone() {
	if len(l.done) == 0 {
		return
	}
	i := 0
	defer func() {
		if l.done = slices.Delete(l.done, 0, i); len(l.done) > 0 {
			l.callDone()
		}
	}()
	for i < len(l.done) {
		d := l.done[i]
		i++
		if d.Func != nil {
			l.call(workSent, d.Func, func() { d.Func(d.Err) })
		} else {
			l.call(workFreed, d.Freed, d.Freed)
		}
	}
}

// sent continues a send that the driver had not finished immediately: it has taken n more bytes,
// or failed. That may come after release, too.
func (c *Conn) sent(n int, err error) {
	c.flags &^= sendPending
	c.loop.counts.bytesOut += uint64(n)
	c.mu.Lock()
	c.noteSentLocked(n)
	c.consumeLocked(n)
	if c.phase.gone() {
		c.mu.Unlock()
		c.loop.callDone() // of what was sent; callEnd drops the rest
		return
	}
	if err != nil && c.writeHalf == finSent { // of the layer's CloseWrite: everything else was sent
		c.mu.Unlock()
		c.loop.callDone()
		c.finSent(err)
		return
	}
	if c.phase == failing {
		c.dropUnsentLocked(c.extras.sendFailed)
		c.mu.Unlock()
		c.loop.callDone()
		return
	}
	f := flushResult{err: err}
	if err == nil {
		f = c.flushLocked()
	}
	c.mu.Unlock()
	c.afterFlush(f)
}
