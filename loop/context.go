package loop

import "context"

// connContext is what Context has made, for one that was asked for.
type connContext struct {
	context.Context
	cancel context.CancelCauseFunc
}

// Context returns a context that is cancelled as soon as the peer is known to be gone, or
// the connection ends: for work that goes on elsewhere. That may be before Closed, while what
// was received is still delivered. Its cause (context.Cause) is the reason that Closed gets,
// or ErrClosed where that is nil. The peer's end of its side alone does not cancel it. It may
// be called from any goroutine; the same context is returned each time, and it costs nothing
// to connections that do not use it.
func (c *Conn) Context() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.makeRareExtrasLocked()
	if r.context == nil {
		ctx, cancel := context.WithCancelCause(context.Background())
		r.context = &connContext{ctx, cancel}
		if c.shut == released {
			cancel(contextCause(c.extras.endReason))
		} else if err := c.extras.sendFailed; err != nil { // which is the reason, or about to be
			cancel(err)
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

// cancelContext cancels the connection's context, if there is one. mu must not be held: what
// waits for the context may look at the connection at once.
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
