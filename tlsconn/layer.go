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
type layer struct {
	above  driver.Above
	conn   *loop.Conn
	shared *shared
	engine atomic.Pointer[tlsengine.Conn] // nil before the ClientHello; ConnectionState reads it
	hs     *handshake                     // nil after the handshake
	done   atomic.Bool                    // the handshake was successful

	in   []byte  // a block with the beginning of a record, or nil
	held []byte  // what was received before the handshake has ended, or nil; the driver is paused while there is some
	out  *outbox // nil if the driver has taken everything

	rawEnd  error // what the driver has reported as its end, io.EOF or a failure, for after the handshake and held
	endErr  error // why nothing more can be received, once known
	sendErr error // why the driver sends no more
	state   state
	queued  atomic.Bool // Above.Run has step

	discarded  int // bytes received after the peer's close_notify
	alertTurns int // turns of the loop since Release, while releasing is set
}

// state is a set of flags.
type state uint16

const (
	connected    state = 1 << iota // the handshake was successful: there are records
	receiving                      // the loop receives
	ended                          // the loop has got ReceiveEnded
	failed                         // the loop has got Failed, or ReceiveEnded with an error
	clogged                        // the peer causes output, and does not receive it: nothing more is received from it
	sendPending                    // the loop is to get Sent, for its Send
	closeStarted                   // CloseWrite was called
	closePending                   // the loop is to get Sent, for its CloseWrite
	stepping                       // inside step, which calls proceed
	gone                           // Release was called
	releasing                      // the driver's Release is put off until the last alert is sent
)

func (l *layer) has(s state) bool { return l.state&s != 0 }

var _ driver.Layer = (*layer)(nil)

// newLayer returns a layer whose handshake has not begun.
func newLayer(h *handler, c *loop.Conn, above driver.Above) *layer {
	l := &layer{above: above, conn: c, shared: sharedOf(c.Loop())}
	l.hs = &handshake{handler: h, run: l.step}
	return l
}

// SyncSend implements driver.StreamDriver: what was encrypted is in the layer's memory.
func (l *layer) SyncSend() bool { return true }

// Pause implements driver.StreamDriver.
func (l *layer) Pause(s *driver.Stream) {
	l.state &^= receiving
	l.above.Driver.Pause(s)
}

// Resume implements driver.StreamDriver. What is held is delivered by step, outside of the loop's call.
func (l *layer) Resume(*driver.Stream) {
	if l.has(gone) {
		return
	}
	l.state |= receiving
	if l.held == nil && (l.endErr == nil || l.has(ended)) {
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
		return l.has(receiving) && !l.has(failed) && l.discarded < maxDiscardedBytes
	}
	return l.has(receiving) && l.held == nil && l.endErr == nil
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
	if l.has(connected) {
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
