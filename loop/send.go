package loop

import (
	"slices"
	"sync"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/sock"
)

// sendQueue is a queue of unsent bytes: in blocks borrowed from the loop, and in slices given to
// WriteOwned.
type sendQueue struct {
	chunks []chunk
	head   int
	bytes  int
}

type chunk struct {
	block []byte // borrowed; nil if the bytes are the caller's
	b     []byte // the unsent part
	done  func(error)
}

// stagingBytes is how much the callback of one connection may write before blocks are borrowed,
// unless the high watermark is lower.
const stagingBytes = 64 << 10

var sendQueues = sync.Pool{New: func() any { return new(sendQueue) }}

// Write takes all of b, to be sent in order, or nothing: ErrBufferFull if more bytes than
// MaxUnsent would be unsent, ErrTooLarge if b alone has more, ErrClosed after Close or
// CloseWrite, and, wrapped with the cause, after sending has failed. b may be reused
// immediately. Write never blocks, and what is written during one turn is sent together.
func (c *Conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	if c.inCallback() && c.out == nil && c.acceptsWritesLocked() {
		// The ordinary case. The staging buffer is smaller than any limit.
		if l, n := c.loop, len(c.loop.staging); len(b) < l.direct && len(b) <= cap(l.staging)-n {
			l.staging = l.staging[:n+copy(l.staging[n:cap(l.staging)], b)]
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
		c.uncrossIfSentLocked()
		c.mu.Unlock()
		return len(b), nil
	}
	c.queueLocked(b)
	c.submitAndUnlock(wantFlush)
	return len(b), nil
}

// uncrossIfSentLocked clears c.crossed if the kernel has taken everything immediately. c.mu must
// be held.
func (c *Conn) uncrossIfSentLocked() { c.crossed = c.crossed && c.unsentLocked() > 0 }

// Writev is Write for several slices: it takes all of them, or nothing.
func (c *Conn) Writev(bufs [][]byte) (int, error) {
	total := 0
	for _, b := range bufs {
		total += len(b)
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
	c.uncrossIfSentLocked()
	c.submitAndUnlock(wantFlush)
	return total, nil
}

// WriteOwned is Write without a copy: b must not change until done is called, on the loop, once:
// with nil when the kernel has taken all of b, or with an error if it will not. It is called
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
	q := c.makeSendQueueLocked()
	q.chunks = append(q.chunks, chunk{b: b, done: done})
	q.bytes += len(b)
	c.submitAndUnlock(wantFlush)
	return len(b), nil
}

// admitWriteLocked returns an error if n more bytes cannot be written, and else accounts for the
// high watermark. c.mu must be held.
func (c *Conn) admitWriteLocked(n int) error {
	if !c.acceptsWritesLocked() {
		return c.writeErrorLocked()
	}
	unsent := c.unsentLocked()
	if n > c.loop.g.config.MaxUnsent {
		return ErrTooLarge
	}
	if n+unsent > c.loop.g.config.MaxUnsent {
		c.crossed = c.crossed || unsent > 0 // so that Drained is called
		return ErrBufferFull
	}
	c.crossed = c.crossed || n+unsent > c.loop.g.config.HighWatermark
	return nil
}

// unsentLocked returns the number of unsent bytes. c.mu must be held.
func (c *Conn) unsentLocked() int {
	n := 0
	if c.out != nil {
		n = c.out.bytes
	}
	if c.inCallback() {
		n += len(c.loop.staging)
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
	if len(b) < l.direct {
		if len(l.staging)+len(b) > cap(l.staging) {
			return false
		}
		l.staging = append(l.staging, b...)
		return true
	}
	if len(l.staging) > 0 {
		c.unstageLocked()
		return false
	}
	n, err := c.stream.Write(b)
	l.sentDirectly.Add(uint64(n))
	c.noteSent(n)
	if n < len(b) {
		c.queueLocked(b[n:])
		if err != sock.ErrWouldBlock {
			// The system reports the error only once: flush returns it.
			c.failWritesLocked(err)
		}
		c.requests |= wantFlush
	}
	return true
}

// unstageLocked moves the contents of the staging buffer to the queue. c.mu must be held.
func (c *Conn) unstageLocked() {
	l := c.loop
	if c.inCallback() && len(l.staging) > 0 {
		b := l.staging
		l.staging = l.staging[:0]
		c.queueLocked(b)
	}
}

func (c *Conn) makeSendQueueLocked() *sendQueue {
	if c.out == nil {
		c.out = sendQueues.Get().(*sendQueue)
	}
	return c.out
}

// queueLocked copies b into blocks of the queue. c.mu must be held.
func (c *Conn) queueLocked(b []byte) {
	if len(b) == 0 {
		return
	}
	if c.inCallback() && len(c.loop.staging) > 0 {
		c.unstageLocked()
	}
	q := c.makeSendQueueLocked()
	q.bytes += len(b)
	if n := len(q.chunks); n > q.head {
		// Fill the rest of the last block, which begins where its bytes end.
		last := &q.chunks[n-1]
		if last.block != nil {
			if free := cap(last.b) - len(last.b); free > 0 {
				k := min(free, len(b))
				last.b = append(last.b, b[:k]...)
				b = b[k:]
			}
		}
	}
	for len(b) > 0 {
		block := c.loop.blocks.Get(min(len(b), maxBlock))
		k := copy(block, b)
		q.chunks = append(q.chunks, chunk{block: block, b: block[:k:len(block)]})
		b = b[k:]
	}
}

// maxBlock is the size of the largest block that is borrowed for sending.
const maxBlock = 128 << 10

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
	stops   bool          // reading stops while crossed
	timeout time.Duration // the write timeout, if something is unsent
	crossed bool          // the high watermark was crossed, and the low one has not been reached since
	drained bool          // the low watermark has been reached
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
	if staged := l.staging; len(staged) > 0 {
		l.staging = staged[:0]
		n, err := c.sendLocked(append(l.iov[:0], staged), len(staged))
		if err != nil {
			return flushResult{err: err}
		}
		sent = n
		c.queueLocked(staged[n:])
	}
	for c.out != nil && c.flags&sendPending == 0 {
		if sent >= l.g.config.ReadBudget {
			f := c.flushResultLocked()
			f.again = true // other connections first
			return f
		}
		bufs, total := c.out.gather(l.iov[:0])
		n, err := c.sendLocked(bufs, total)
		clear(bufs)
		if err != nil {
			return flushResult{err: err}
		}
		sent += n
		c.consumeLocked(n, nil)
	}
	return c.flushResultLocked()
}

func (c *Conn) flushResultLocked() flushResult {
	f := flushResult{unsent: c.unsentLocked(), crossed: c.crossed, fin: c.writeHalf == finRequested}
	if f.unsent > 0 {
		f.timeout = c.writeTimeoutLocked()
	}
	if c.crossed && f.unsent <= c.loop.g.config.LowWatermark {
		c.crossed, f.crossed, f.drained = false, false, true
	}
	f.stops = f.crossed && c.stopsReadingLocked()
	return f
}

// sendLocked passes bufs, of total bytes, to the driver and returns how many bytes it took.
func (c *Conn) sendLocked(bufs [][]byte, total int) (int, error) {
	l := c.loop
	n, err := l.drv.Send(&c.stream, bufs)
	l.counts.bytesOut += uint64(n)
	c.noteSent(n)
	if err == nil && n < total {
		c.flags |= sendPending
	}
	return n, err
}

// noteSent records that n bytes were sent, for timeouts.
func (c *Conn) noteSent(n int) {
	if n > 0 && (c.flags&(hasIdleTimeout|timingSend) != 0 || c.phase == closing) {
		now := c.loop.clock()
		c.extras.lastActive = now
		if c.flags&timingSend != 0 {
			c.extras.rare.lastSent = now
		}
	}
}

// gather appends the queued slices to bufs, up to the maximum of one send.
func (q *sendQueue) gather(bufs [][]byte) (_ [][]byte, total int) {
	for i := q.head; i < len(q.chunks) && len(bufs) < driver.MaxBuffers; i++ {
		bufs = append(bufs, q.chunks[i].b)
		total += len(q.chunks[i].b)
	}
	return bufs, total
}

// consumeLocked removes n sent bytes from the queue, or everything if why is not nil. The done
// functions of WriteOwned are collected for callDone. c.mu must be held.
func (c *Conn) consumeLocked(n int, why error) {
	q := c.out
	if q == nil {
		return
	}
	q.bytes -= n
	for q.head < len(q.chunks) {
		x := &q.chunks[q.head]
		if why == nil && n < len(x.b) {
			x.b = x.b[n:]
			return
		}
		n -= min(n, len(x.b))
		if x.block != nil {
			c.loop.blocks.Put(x.block)
		}
		if x.done != nil {
			c.loop.done = append(c.loop.done, doneCall{x.done, why})
		}
		*x = chunk{}
		q.head++
	}
	q.chunks, q.head, q.bytes = q.chunks[:0], 0, 0
	c.out = nil
	sendQueues.Put(q)
}

// doneCall is a call of WriteOwned's done that is due.
type doneCall struct {
	f   func(error)
	err error
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
	switch {
	case !c.phase.intact(): // received bytes are dropped
	case f.stops:
		c.pauseReading()
	case f.crossed:
		c.resumeReading()
	case f.drained:
		c.resumeReading()
		if c.in != nil {
			c.submitNextTurn(wantDeliver) // what Data left because it could not write
		}
		if c.optional&hasDrained != 0 {
			c.submitNextTurn(wantDrained)
		}
	}
	c.watchSending(&f)
	switch {
	case f.again:
		c.submitNextTurn(wantFlush)
	case f.unsent == 0:
		c.allSent(f.fin)
	}
}

// callDone calls the due done functions of WriteOwned, even if one of them ends the goroutine.
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
		l.call(workSent, d.f, func() { d.f(d.err) })
	}
}

// sent continues a send that the driver had not finished immediately: it has taken n more bytes,
// or failed.
func (c *Conn) sent(n int, err error) {
	c.flags &^= sendPending
	c.loop.counts.bytesOut += uint64(n)
	c.noteSent(n)
	c.mu.Lock()
	c.consumeLocked(n, nil)
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
