package tlsconn

import (
	"io"
	"sync/atomic"
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/layered"
	"github.com/pollux-io/pollux/loop"
)

// Checked returns h, which must be a handler of this package with a layer, such that a violation of the contract of
// driver.Layer between the loop and the layer fails the test.
func Checked(t testing.TB, h loop.Handler) loop.Handler { return &checked{handler: h.(*handler), t: t} }

type checked struct {
	*handler
	t testing.TB
}

func (h *checked) NewLayer(c *loop.Conn, above driver.Above) driver.Layer {
	k := &checker{t: h.t, up: above.Up}
	above.Up = (*checkedUp)(k)
	run := above.Run
	above.Run = func(f func()) bool {
		if n := k.queued.Add(1); n > 1 {
			h.t.Errorf("the contract of layers: %d functions are in the queue of Above.Run", n)
		}
		return run(func() {
			k.queued.Add(-1)
			f()
		})
	}
	k.layer = newLayer(h.handler, c, above)
	return k
}

// layerOf returns the layer of c.
func layerOf(c *loop.Conn) *layer {
	if k, ok := layered.Of(c).(*checker); ok {
		return k.layer
	}
	return layered.Of(c).(*layer)
}

// A checker is between the loop and a layer, and knows what the contract allows next. The loop and its upcalls have one
// goroutine.
type checker struct {
	*layer
	t  testing.TB
	up driver.StreamUpcalls

	queued                                              atomic.Int32 // functions given to Above.Run and not called yet
	inCall                                              bool         // of the loop: no upcall may come
	connected, receiving, ended, failed, gone, released bool
	sending                                             int // bytes of the Send in flight
	closing                                             bool
	late                                                int // bytes received since receiving was stopped
}

func (k *checker) check(ok bool, format string, args ...any) {
	if !ok {
		k.t.Errorf("the contract of layers: "+format, args...)
	}
}

// call is a call of the loop.
func (k *checker) call(f func()) {
	was := k.inCall
	k.inCall = true
	f()
	k.inCall = was
}

func (k *checker) Start(received []byte) { k.call(func() { k.layer.Start(received) }) }

func (k *checker) Resume(s *driver.Stream) {
	k.receiving, k.late = true, 0
	k.call(func() { k.layer.Resume(s) })
}

func (k *checker) Pause(s *driver.Stream) {
	k.receiving = false
	k.call(func() { k.layer.Pause(s) })
}

func (k *checker) Send(s *driver.Stream, bufs [][]byte) (n int, err error) {
	total := 0
	for _, b := range bufs {
		total += len(b)
	}
	k.check(k.sending == 0 && !k.closing, "the loop has called Send with one in flight")
	k.call(func() { n, err = k.layer.Send(s, bufs) })
	k.check(n <= total, "Send took %d bytes of %d", n, total)
	if err == nil {
		k.sending = total - n
	}
	return n, err
}

func (k *checker) CloseWrite(s *driver.Stream) (done bool, err error) {
	k.call(func() { done, err = k.layer.CloseWrite(s) })
	k.closing = !done && err == nil
	return done, err
}

func (k *checker) Release(s *driver.Stream) {
	k.gone = true
	k.call(func() { k.layer.Release(s) })
}

// checkedUp is a checker as its layer sees it.
type checkedUp checker

func (u *checkedUp) upcall(name string) *checker {
	k := (*checker)(u)
	k.check(!k.inCall, "%s inside of a call of the loop", name)
	k.check(k.connected || name == "Connected" || name == "Released", "%s before Connected", name)
	k.check(!k.released && (!k.gone || name == "Sent" || name == "Released"), "%s after Release", name)
	return k
}

func (u *checkedUp) Connected(err error) {
	k := u.upcall("Connected")
	k.check(!k.connected, "Connected twice")
	k.connected = true
	k.up.Connected(err)
}

func (u *checkedUp) Received(b []byte) bool {
	k := u.upcall("Received")
	k.check(!k.ended, "Received after ReceiveEnded")
	k.check(len(b) > 0, "Received without a byte")
	if !k.receiving {
		k.late += len(b)
		k.check(k.late <= driver.MaxLateBytes, "%d bytes received after receiving was stopped", k.late)
	}
	more := k.up.Received(b)
	if !more {
		k.receiving = false
	}
	return more
}

func (u *checkedUp) ReceiveEnded(err error) {
	k := u.upcall("ReceiveEnded")
	k.check(!k.ended, "ReceiveEnded twice")
	k.check(k.receiving, "ReceiveEnded (%v) while not receiving", err)
	k.ended = true
	k.failed = k.failed || err != io.EOF
	k.up.ReceiveEnded(err)
}

func (u *checkedUp) Failed(err error) {
	k := u.upcall("Failed")
	k.check(!k.failed, "Failed (%v) after Failed or an error of ReceiveEnded", err)
	k.failed = true
	k.up.Failed(err)
}

func (u *checkedUp) Sent(n int, err error) {
	k := u.upcall("Sent")
	k.check(k.sending > 0 && n <= k.sending || k.closing && n == 0, "Sent(%d, %v) with %d bytes in flight, and CloseWrite %v", n, err, k.sending, k.closing)
	k.sending, k.closing = 0, false
	k.up.Sent(n, err)
}

func (u *checkedUp) Released() {
	k := u.upcall("Released")
	k.check(k.gone, "Released before Release")
	k.released = true
	k.up.Released()
}
