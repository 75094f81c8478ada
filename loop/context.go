package loop

import "context"

// connContext is the context returned by Context, with its cancel function.
type connContext struct {
	context.Context
	cancel context.CancelCauseFunc
}

// Context returns a context that is canceled as soon as the peer is known to be gone, or the
// connection ends: for work in other goroutines. That may be before Closed, while received bytes
// are still delivered. Its cause (context.Cause) is the reason that Closed gets, or ErrClosed
// where that is nil. Context may be called from any goroutine and returns the same
// context each time; connections that do not use it pay nothing.
//
// A FIN does not cancel it: a peer that closes its socket sends the same as one that half-closes and
// waits for the answer. But a connection whose handler has no ReadClosed method ends with the FIN,
// unless the handler has paused: then the FIN is not noticed before Resume.
func (c *Conn) Context() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.makeRareExtrasLocked()
	if r.context == nil {
		ctx, cancel := context.WithCancelCause(context.Background())
		r.context = &connContext{ctx, cancel}
		if c.phase.gone() {
			cancel(contextCause(c.extras.endReason))
		} else if c.writeHalf == writeFailed {
			cancel(c.extras.sendFailed) // it is the reason, or about to be
		}
	}
	return r.context
}

func contextCause(why error) error {
	if why == nil {
		return ErrClosed
	}
	return why
}

// cancelContext cancels the connection's context, if there is one. c.mu must not be held:
// goroutines that wait for the context may call the connection's methods immediately.
func (c *Conn) cancelContext(why error) {
	c.mu.Lock()
	var ctx *connContext
	if x := c.extras; x != nil && x.rare != nil {
		ctx = x.rare.context
	}
	c.mu.Unlock()
	if ctx != nil {
		ctx.cancel(contextCause(why))
	}
}
