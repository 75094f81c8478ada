package conformance

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"

	"github.com/pollux-io/pollux/internal/driver"
)

// text is what every stream carries, from its first byte on, so that lost, duplicated and
// reordered bytes are detected.
var text = func() []byte {
	b := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}()

// conn is a stream that records its upcalls and checks which are allowed.
type conn struct {
	driver.Stream
	h *harness
	p *peer // nil if the suite has no peer for it

	onReceived  func(b []byte) bool
	onEnded     func()
	onFailed    func()
	onSent      func()
	onConnected func()
	onReleased  func()

	resumed   bool // at least once
	receiving bool
	late      int // bytes since receiving was stopped
	turn      int // of the last Received
	thisTurn  int // bytes received in that turn

	got    int // bytes; they are text[0:got]
	ended  error
	failed error

	out        outgoing
	connecting bool
	connects   int
	connectErr error
	gone       bool // Release or Detach was called
	detached   bool
	releases   int
}

func (h *harness) conn() *conn {
	c := &conn{h: h}
	c.Up = (*upcalls)(c)
	h.conns = append(h.conns, c)
	return c
}

func (c *conn) attach() {
	c.h.Helper()
	c.h.call("Attach", func() { c.h.must(c.h.drv.Attach(&c.Stream)) })
}

func (c *conn) resume() {
	c.resumed, c.receiving, c.late = true, true, 0
	c.h.call("Resume", func() { c.h.drv.Resume(&c.Stream) })
}

func (c *conn) pause() {
	c.receiving = false
	c.h.call("Pause", func() { c.h.drv.Pause(&c.Stream) })
}

func (c *conn) release() {
	c.gone = true
	c.h.call("Release", func() { c.h.drv.Release(&c.Stream) })
}

func (c *conn) detach() {
	c.gone, c.detached = true, true
	c.h.call("Detach", func() { c.h.drv.Detach(&c.Stream) })
}

// upcalls is conn as driver.StreamUpcalls.
type upcalls conn

func (u *upcalls) upcall(what string, f func(c *conn)) {
	c := (*conn)(u)
	c.h.upcall(what, func() {
		switch {
		case c.releases > 0:
			c.h.Errorf("%s after Released", what)
		case c.gone && what == "Sent" && c.out.pending() && !c.h.drv.SyncSend():
			f(c)
		case c.gone && what != "Released" && !(c.detached && (what == "Received" || what == "ReceiveEnded")):
			c.h.Errorf("%s after Release", what)
		default:
			f(c)
		}
	})
}

func (u *upcalls) Connected(err error) {
	u.upcall("Connected", func(c *conn) {
		if !c.connecting {
			c.h.Errorf("Connected(%v) without Connect, or twice", err)
		}
		c.connecting = false
		c.connects++
		c.connectErr = err
		if c.onConnected != nil {
			c.onConnected()
		}
	})
}

func (u *upcalls) Received(b []byte) (more bool) {
	u.upcall("Received", func(c *conn) {
		switch {
		case !c.resumed:
			c.h.Errorf("Received(%d bytes) before the first Resume", len(b))
		case c.ended != nil:
			c.h.Errorf("Received(%d bytes) after ReceiveEnded(%v)", len(b), c.ended)
		case len(b) == 0:
			c.h.Error("Received(0 bytes)")
		case c.got+len(b) > len(text) || !bytes.Equal(b, text[c.got:c.got+len(b)]):
			c.h.Errorf("%d bytes received after %d differ from those sent", len(b), c.got)
		}
		c.got += len(b)
		if c.turn != c.h.turnCount {
			c.turn, c.thisTurn = c.h.turnCount, 0
		}
		if c.thisTurn += len(b); c.thisTurn >= c.h.config.BudgetBytes+c.h.config.ScratchBytes {
			c.h.Errorf("%d bytes received in one turn; BudgetBytes is %d and ScratchBytes %d", c.thisTurn, c.h.config.BudgetBytes, c.h.config.ScratchBytes)
		}
		if !c.receiving {
			if c.late += len(b); c.late > driver.MaxLateBytes {
				c.h.Errorf("%d bytes received since receiving was stopped; MaxLateBytes is %d", c.late, driver.MaxLateBytes)
			}
		}
		more = c.receiving
		if c.onReceived == nil {
			return
		}
		if more = c.onReceived(b); !more {
			c.receiving = false
		}
		for i := range b {
			b[i] = 0xee // the driver may reuse its memory, and must not rely on its contents
		}
	})
	return more
}

func (u *upcalls) ReceiveEnded(err error) {
	u.upcall("ReceiveEnded", func(c *conn) {
		switch {
		case err == nil:
			c.h.Error("ReceiveEnded without an error")
			err = io.ErrNoProgress
		case c.ended != nil:
			c.h.Errorf("ReceiveEnded(%v) after ReceiveEnded(%v)", err, c.ended)
		case !c.resumed:
			c.h.Errorf("ReceiveEnded(%v) before the first Resume", err)
		case !c.receiving && !c.detached:
			c.h.Errorf("ReceiveEnded(%v), though receiving was stopped", err)
		case c.detached && err == io.EOF:
			c.h.Error("ReceiveEnded(EOF) after Detach: the system reports EOF again")
		}
		c.ended = err
		if c.onEnded != nil {
			c.onEnded()
		}
	})
}

func (u *upcalls) Failed(err error) {
	u.upcall("Failed", func(c *conn) {
		switch {
		case err == nil:
			c.h.Error("Failed without an error")
		case c.failed != nil:
			c.h.Errorf("Failed(%v) after Failed(%v)", err, c.failed)
		case c.ended != nil && !errors.Is(c.ended, io.EOF):
			c.h.Errorf("Failed(%v) after ReceiveEnded(%v)", err, c.ended)
		case errors.Is(err, io.EOF):
			c.h.Error("Failed(EOF)")
		case c.receiving && c.ended == nil:
			c.h.Errorf("Failed(%v), though ReceiveEnded will report it: the stream is receiving", err)
		}
		c.failed = err
		if c.onFailed != nil {
			c.onFailed()
		}
	})
}

func (u *upcalls) Sent(n int, err error) {
	u.upcall("Sent", func(c *conn) {
		c.sent(n, err)
		if c.onSent != nil {
			c.onSent()
		} else {
			c.continueSend()
		}
	})
}

func (u *upcalls) Released() {
	u.upcall("Released", func(c *conn) {
		if !c.gone {
			c.h.Error("Released without Release")
		}
		c.releases++
		c.out.spoilHeld()
		if c.onReleased != nil {
			c.onReleased()
		}
	})
}
