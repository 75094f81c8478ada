package netconn

import (
	"net"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/loop"
)

// Write writes all of b, unless it fails. It returns when the kernel has taken the bytes or they are queued: at
// most as many as the high watermark (loop.Config.HighWatermarkBytes). Then it waits until the peer has taken
// them down to the low one. If nothing is unsent, the bytes go to the kernel directly, without the loop.
//
// The error is os.ErrDeadlineExceeded, net.ErrClosed, or the system's: ECONNRESET or EPIPE if the peer is gone, EPIPE
// after CloseWrite. n bytes were written before it.
func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.write(b)
	if err != nil {
		err = c.opError("write", err)
	}
	return n, err
}

func (c *Conn) write(b []byte) (n int, err error) {
	c.mu.Lock()
	c.w.awaitTurn(&c.closed)
	if err := c.writeErrorLocked(); err != nil {
		c.mu.Unlock()
		return 0, err
	}
	c.w.busy = true
	for {
		c.drained = false
		c.mu.Unlock()
		m, failed := c.raw.TryWrite(b[n:])
		n += m
		c.mu.Lock()
		if failed == nil {
			break
		}
		if failed != loop.ErrBufferFull {
			err = c.tryErrorLocked(failed)
			break
		}
		if err = c.awaitDrainedLocked(); err != nil {
			break
		}
	}
	c.w.leave()
	c.mu.Unlock()
	return n, err
}

// awaitDrainedLocked waits until the low watermark is reached. c.mu must be held.
func (c *Conn) awaitDrainedLocked() error {
	if !c.independent {
		// Otherwise this side would not read until the peer reads, while the peer may not read until
		// this side does. It is set now, as it takes memory, and few connections ever wait.
		c.independent = true
		c.raw.SetBackpressure(false)
	}
	if c.drained {
		return nil
	}
	if c.raw.Loop().Group().OnLoop() {
		return loop.ErrOnLoop
	}
	for !c.drained {
		if err := c.writeErrorLocked(); err != nil {
			return err
		}
		c.w.cond.Wait()
	}
	return c.writeErrorLocked()
}

// CloseWrite half-closes the connection: the peer gets what was written, and then the end of the stream. Later
// calls of Write, and one that waits, return EPIPE.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return c.opError("close", net.ErrClosed)
	}
	ended, again := c.ended, c.writeClosed
	c.writeClosed = true
	c.w.cond.Broadcast()
	c.mu.Unlock()
	if again && !ended {
		return nil
	}
	if ended || c.raw.CloseWrite() != nil {
		return c.opError("close", sys.CallError("shutdown", syscall.ENOTCONN))
	}
	return nil
}
