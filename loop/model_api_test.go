package loop_test

import (
	"context"
	"time"

	"github.com/pollux-io/pollux/loop"
)

type (
	withReason interface {
		CloseWith(error) error
		AbortWith(error) error
	}
	withBackpressure interface{ SetBackpressure(bool) error }
	withWriteTimeout interface{ SetWriteTimeout(time.Duration) error }
	withContext      interface{ Context() context.Context }
)

var (
	_, knowsCloseWith    = any((*loop.Conn)(nil)).(withReason)
	_, knowsBackpressure = any((*loop.Conn)(nil)).(withBackpressure)
)

func closeWith(c *loop.Conn, err error) error {
	if x, ok := any(c).(withReason); ok {
		return x.CloseWith(err)
	}
	return c.Close()
}

func abortWith(c *loop.Conn, err error) error {
	if x, ok := any(c).(withReason); ok {
		return x.AbortWith(err)
	}
	return c.Abort()
}

func setBackpressure(c *loop.Conn, on bool) error {
	if x, ok := any(c).(withBackpressure); ok {
		return x.SetBackpressure(on)
	}
	return nil
}

func setWriteTimeout(c *loop.Conn, d time.Duration) error {
	if x, ok := any(c).(withWriteTimeout); ok {
		return x.SetWriteTimeout(d)
	}
	return nil
}

func contextOf(c *loop.Conn) context.Context {
	if x, ok := any(c).(withContext); ok {
		return x.Context()
	}
	return nil
}
