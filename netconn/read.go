package netconn

import (
	"io"
	"net"

	"github.com/pollux-io/pollux/internal/block"
	"github.com/pollux-io/pollux/internal/unread"
	"github.com/pollux-io/pollux/loop"
)

// maxUnreadBytes is how many received bytes of a connection may be unread before its loop stops receiving. What
// the loop receives in one turn comes in addition (loop.Config.TurnBudgetBytes). At resumeUnreadBytes it receives again,
// while the rest is being read.
const (
	maxUnreadBytes    = 64 << 10
	resumeUnreadBytes = maxUnreadBytes / 2
)

// maxIdleBytes is how many bytes of unused memory for unread bytes this package keeps.
const maxIdleBytes = 4 << 20

var blocks = block.NewPool(maxIdleBytes)

// Read reads into b what has arrived, and waits for the first byte: until the deadline (os.ErrDeadlineExceeded), Close
// (net.ErrClosed), or the end of the stream (io.EOF). If the peer has reset the connection, the error is ECONNRESET,
// after all that was received before.
//
// The loop copies bytes to b directly if Read waits for them. Those that arrive while no Read waits are kept,
// up to 64 KiB and what one turn of the loop receives (loop.Config.TurnBudgetBytes); then the loop does not
// receive until they are read, and the peer is slowed down, as by a full receive buffer.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.read(b)
	if err != nil && err != io.EOF {
		err = c.opError("read", err)
	}
	return n, err
}

func (c *Conn) read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readLocked(b)
}

func (c *Conn) readLocked(b []byte) (int, error) {
	c.r.awaitTurn(&c.closed)
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case len(b) == 0:
		return 0, nil
	case c.r.expired:
		return 0, errDeadline
	case c.in != nil:
		return c.takeUnreadLocked(b), nil
	}
	if err := c.readErrorLocked(); err != nil {
		return 0, err
	}
	if c.waitsOnLoopLocked() {
		return 0, loop.ErrOnLoop
	}
	return c.awaitDataLocked(b)
}

// waitsOnLoopLocked reports whether Read is called on a loop, which must not wait. Each call is checked for the loop
// of the connection, which could never end the wait, and the first call that waits for all loops of the group: that takes a
// microsecond, and a program makes all its calls on loops or none. c.mu must be held.
func (c *Conn) waitsOnLoopLocked() bool {
	l := c.raw.Loop()
	if l.OnLoop() || !c.hasWaited && l.Group().OnLoop() {
		return true
	}
	c.hasWaited = true
	return false
}

// awaitDataLocked waits until Data has filled b. c.mu must be held; nothing may be unread.
func (c *Conn) awaitDataLocked(b []byte) (int, error) {
	c.into, c.r.busy = b, true
	for c.into != nil && !c.closed && !c.r.expired && c.readErrorLocked() == nil {
		c.r.cond.Wait()
	}
	filled := c.into == nil
	c.into = nil
	c.r.leave()
	switch {
	case filled:
		return c.got, nil
	case c.closed:
		return 0, net.ErrClosed
	case c.r.expired:
		return 0, errDeadline
	}
	return 0, c.readErrorLocked()
}

// keepLocked keeps received bytes until they are read. c.mu must be held, by the loop.
func (c *Conn) keepLocked(b []byte) {
	if c.in == nil {
		c.in = unread.New(blocks)
	}
	c.in.Append(b)
	if c.in.Len() >= maxUnreadBytes && !c.paused {
		// With mu held, so that the Resume of a Read comes later.
		c.paused = c.raw.Pause() == nil
	}
}

// takeUnreadLocked moves unread bytes to b. c.mu must be held.
func (c *Conn) takeUnreadLocked(b []byte) int {
	n := copy(b, c.in.Bytes())
	if c.in.Consume(n); c.in.Len() == 0 {
		c.dropUnreadLocked()
	} else if c.in.Len() <= resumeUnreadBytes {
		c.resumeLocked()
	}
	return n
}

// dropUnreadLocked drops the unread bytes, so the loop receives again. c.mu must be held.
func (c *Conn) dropUnreadLocked() {
	if c.in != nil {
		c.in.Free()
		c.in = nil
	}
	c.resumeLocked()
}

func (c *Conn) resumeLocked() {
	if c.paused {
		c.paused = false
		c.raw.Resume()
	}
}

// CloseRead ends reading: Read returns io.EOF, and what the peer still sends is dropped.
func (c *Conn) CloseRead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.readClosed = true
	c.dropUnreadLocked()
	c.r.cond.Broadcast()
	return nil
}

// copyBytes is the size of the buffers of WriteTo and ReadFrom.
const copyBytes = 32 << 10

// WriteTo writes what it reads to w until the end of the stream, as io.Copy does, with a buffer that is used
// again. It returns how many bytes w has taken.
func (c *Conn) WriteTo(w io.Writer) (int64, error) {
	return copyAll(w, c.Read)
}

// ReadFrom writes what it reads from r until its end (io.EOF), as io.Copy does, with a buffer that is used
// again. It returns how many bytes it has written.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) {
	return copyAll(writerOnly{c}, r.Read)
}

// writerOnly has no ReadFrom.
type writerOnly struct{ io.Writer }

func copyAll(w io.Writer, read func([]byte) (int, error)) (total int64, err error) {
	b := blocks.Get(copyBytes)
	defer blocks.Put(b)
	for {
		n, err := read(b)
		if n > 0 {
			m, werr := w.Write(b[:n])
			total += int64(m)
			switch {
			case werr != nil:
				return total, werr
			case m < n:
				return total, io.ErrShortWrite
			}
		}
		switch {
		case err == io.EOF:
			return total, nil
		case err != nil:
			return total, err
		}
	}
}
