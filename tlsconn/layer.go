package tlsconn

import (
	"net"
	"sync/atomic"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/tlsengine"
	"github.com/pollux-io/pollux/loop"
)

// A layer is TLS on one stream: a driver.Layer. It is between the loop (above.Up) and the stream's driver.
//
// All of it runs on the loop, except what Above.Run and the engine's Notify allow to other goroutines. Upcalls may
// call any of the layer's methods: so whatever follows an upcall looks at the state again.
//
// The files: handshake.go, from Start to Connected; receive.go, from records to plaintext; send.go, from plaintext
// to records (outbox.go); end.go, how each direction ends, and the stream.
//
// A layer is what an idle connection has for TLS, besides crypto/tls: what is not needed then is in memory of its own.
type layer struct {
	above  driver.Above
	shared *shared
	engine atomic.Pointer[tlsengine.Conn] // nil before the ClientHello; ConnectionState reads it
	hs     *handshake                     // nil after the handshake

	in   []byte  // a block with the beginning of a record, or with what the state holding is for, or nil
	out  *outbox // nil if the driver has taken everything
	ends *ends   // nil while no direction has ended

	state     state
	connected atomic.Bool // the handshake was successful: there are records; ConnectionState reads it
	queued    atomic.Bool // Above.Run has step
}

// state is a set of flags.
type state uint16

const (
	receiving    state = 1 << iota // the loop receives
	ended                          // the loop has got ReceiveEnded
	failed                         // the loop has got Failed, or ReceiveEnded with an error
	clogged                        // the peer causes output, and does not receive it: nothing more is received from it
	sendPending                    // the loop is to get Sent, for its Send
	closeStarted                   // CloseWrite was called
	closePending                   // the loop is to get Sent, for its CloseWrite
	stepping                       // inside step, which calls proceed
	gone                           // Release was called
	releasing                      // the driver's Release is put off until the last alert is sent
	holding                        // in has what was received before the handshake has ended, or after maxControlRecords; the driver is paused
)

func (l *layer) has(s state) bool { return l.state&s != 0 }

var _ driver.Layer = (*layer)(nil)

// newLayer returns a layer whose handshake has not begun.
func newLayer(h *handler, c *loop.Conn, above driver.Above) *layer {
	return &layer{above: above, shared: sharedOf(c.Loop()), hs: &handshake{handler: h, conn: c}}
}

// SyncSend implements driver.StreamDriver: what was encrypted is in the layer's memory.
func (l *layer) SyncSend() bool { return true }

// Pause implements driver.StreamDriver.
func (l *layer) Pause(s *driver.Stream) {
	l.state &^= receiving
	l.above.Driver.Pause(s)
}

// Resume implements driver.StreamDriver. What the layer holds is delivered by step, outside of the loop's call.
func (l *layer) Resume(*driver.Stream) {
	if l.has(gone) {
		return
	}
	l.state |= receiving
	if !l.has(holding) && (l.endErr() == nil || l.has(ended)) {
		l.follow()
	} else if !l.has(stepping) {
		l.requestStep()
	}
}

// receives reports whether the driver shall receive.
func (l *layer) receives() bool {
	switch {
	case l.has(gone | clogged):
		return false
	case l.hs != nil:
		return !l.hs.full
	case l.has(ended):
		return l.has(receiving) && !l.has(failed) && l.ends.discarded < maxDiscardedBytes
	}
	return l.has(receiving) && !l.has(holding) && l.endErr() == nil
}

// follow has the driver receive, or not, as receives has it.
func (l *layer) follow() {
	if l.receives() {
		l.above.Driver.Resume(l.above.Stream)
	} else {
		l.above.Driver.Pause(l.above.Stream)
	}
}

// requestStep has the loop call step soon. Any goroutine may call it.
func (l *layer) requestStep() bool {
	return l.queued.Swap(true) || l.above.Run(l.step)
}

// step is called by Above.Run: what the handshake's goroutine has done, or what could not be done inside of a call of
// the loop.
func (l *layer) step() {
	l.queued.Store(false)
	if l.has(gone) {
		l.releaseAfterAlert()
		return
	}
	l.state |= stepping
	if l.hs != nil {
		l.stepHandshake()
	}
	l.proceed()
	l.state &^= stepping
}

// proceed does what is possible now: inside an upcall of the driver, or step.
func (l *layer) proceed() {
	if l.connected.Load() {
		l.deliverHeld()
		l.deliverEnd()
	}
	if !l.has(gone) {
		l.follow()
	}
}

// addresses are those of a stream as callbacks of a tls.Config see them.
type addresses driver.Stream

func (a *addresses) LocalAddr() net.Addr  { return (*driver.Stream)(a).LocalNetAddr() }
func (a *addresses) RemoteAddr() net.Addr { return (*driver.Stream)(a).RemoteNetAddr() }
