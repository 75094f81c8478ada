package tlsconn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/pollux-io/pollux/internal/clienthello"
	"github.com/pollux-io/pollux/internal/tlsengine"
	"github.com/pollux-io/pollux/loop"
)

// A handshake is what a layer needs until it is connected. A server collects the ClientHello first: without a
// goroutine, and without anything of crypto/tls.
type handshake struct {
	handler  *handler
	conn     *loop.Conn
	parser   clienthello.Parser
	timer    *time.Timer // until the engine has one; nil then
	deadline time.Time
	full     bool  // the engine holds enough
	received bool  // any byte
	err      error // why the handshake cannot go on; the engine has none then, or it is not important any more
}

// Start implements driver.Layer.
func (l *layer) Start(received []byte) {
	hs := l.hs
	timeout := hs.handler.options.timeout()
	hs.deadline = time.Now().Add(timeout)
	if err := hs.handler.check(); err != nil {
		l.failLater(err)
		return
	}
	if hs.handler.client {
		l.startEngine()
	} else {
		hs.timer = time.AfterFunc(timeout, func() { l.requestStep() })
	}
	if len(received) > 0 {
		l.feed(received)
	}
	l.follow()
}

// failLater ends the handshake where no upcall may be made.
func (l *layer) failLater(err error) {
	if l.hs.err == nil {
		l.hs.err = err
	}
	l.requestStep()
}

// feed passes on received bytes.
func (l *layer) feed(b []byte) {
	hs := l.hs
	hs.received = true
	if e := l.engine.Load(); e != nil {
		hs.full = e.Feed(b)
		return
	}
	whole := b
	if l.in != nil {
		l.in = append(grow(l.shared.blocks, l.in, len(b)), b...)
		whole = l.in
	}
	hello, _, err := hs.parser.Parse(whole)
	if hello == nil && err == nil {
		if l.in == nil {
			l.in = append(grow(l.shared.blocks, nil, len(b)), b...)
		}
		return
	}
	// What is no valid ClientHello is for crypto/tls to answer.
	if l.startEngine() {
		hs.full = l.engine.Load().Feed(whole)
	}
	l.dropIn()
}

// dropIn releases the block of received bytes.
func (l *layer) dropIn() {
	l.state &^= holding
	release(l.shared.blocks, l.in)
	l.in = nil
}

// startEngine begins the handshake of crypto/tls, on a goroutine.
func (l *layer) startEngine() bool {
	hs := l.hs
	hs.stopTimer()
	e, err := tlsengine.New(tlsengine.Options{
		Config: hs.handler.config, Client: hs.handler.client,
		Timeout: max(time.Until(hs.deadline), 1), // 0 would be a default
		Pool:    l.shared.group.pool, Addresses: (*addresses)(l.above.Stream),
		Notify: func() { l.requestStep() },
	})
	if err != nil {
		l.failLater(fmt.Errorf("%w: %w", loop.ErrBadArgument, err))
		return false
	}
	l.engine.Store(e)
	e.Start() // Step returns its error
	return true
}

func (hs *handshake) stopTimer() {
	if hs.timer != nil {
		hs.timer.Stop()
		hs.timer = nil
	}
}

// rawEnded notes that the driver receives no more, during the handshake.
func (l *layer) rawEnded(err error) {
	l.makeEnds().raw = err
	e := l.engine.Load()
	switch {
	case e != nil && err == io.EOF:
		e.FeedEnd()
	case e != nil:
		e.Abort(err)
	case err != io.EOF:
		l.failHandshake(err)
	case !l.hs.received:
		l.failHandshake(errNoHello)
	default:
		l.failHandshake(tlsengine.ErrTruncated)
	}
}

// stepHandshake does what the engine, or the timer, asks for.
func (l *layer) stepHandshake() {
	hs, e := l.hs, l.engine.Load()
	switch {
	case hs.err != nil:
		l.failHandshake(hs.err)
		return
	case e == nil:
		if !time.Now().Before(hs.deadline) {
			l.failHandshake(ErrHandshakeTimeout)
		}
		return
	}
	p := e.Step(nil)
	if len(p.Output) > 0 {
		l.sendRecords(p.Output)
	}
	if p.Receive {
		hs.full = false
	}
	switch {
	case !p.Done:
		if err := l.sendErr(); err != nil {
			e.Abort(err)
		}
	case p.Err != nil:
		l.failHandshake(p.Err)
	default:
		l.connect(p.Unread)
	}
}

// connect is the end of a successful handshake.
func (l *layer) connect(unread []byte) {
	rawEnd := l.rawEnd() // deliverHeld may clear it
	l.hs = nil
	l.connected.Store(true)
	l.shared.group.completed.Add(1)
	l.hold(unread)
	l.above.Up.Connected(nil)
	if rawEnd != nil && rawEnd != io.EOF && !l.has(receiving|gone) {
		l.fail(rawEnd)
	}
}

// failHandshake is the end of a handshake that was not successful.
func (l *layer) failHandshake(err error) {
	hs := l.hs
	hs.stopTimer()
	l.hs = nil
	g := l.shared.group
	g.failed.Add(1)
	if errors.Is(err, ErrHandshakeTimeout) {
		g.timedOut.Add(1)
		err = timeoutError{hs.handler.options.timeout()}
	}
	l.state |= ended | failed
	l.makeEnds().receive = err
	l.above.Driver.Pause(l.above.Stream)
	err = hs.error(err)
	defer l.above.Up.Connected(err) // even if the callback ends the goroutine
	hs.handler.options.report(hs.conn, err)
}

// error returns err with the connection's addresses.
func (hs *handshake) error(err error) error {
	e := &net.OpError{Op: "TLS handshake", Net: "tcp", Source: hs.conn.LocalAddr(), Addr: hs.conn.RemoteAddr(), Err: err}
	if e.Source != nil {
		e.Net = e.Source.Network()
	}
	return e
}

// Connected implements driver.StreamUpcalls. The stream is connected before Start, so no driver calls it.
func (l *layer) Connected(err error) {
	panic(fmt.Sprintf("tlsconn: Connected(%v) called on a stream that is connected", err))
}
