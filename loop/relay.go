package loop

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// A relay couples two connections: each gets a relaySide as its handler, and each direction is a
// direction of its own (relay_direction.go). Here is how a relay begins and ends.
//
// Beginning: Relay requests the handlers and a pause of both connections in one step, so either
// both get them or the call has no effect. When both handlers are in force, both connections
// resume. So no byte moves before that.
//
// Ending: each direction ends with its source's FIN; after both, both connections are closed. If
// one connection ends otherwise, the other is closed as well: by FIN if the program closed the
// first without a reason, else by a reset, since its peer must not take an incomplete stream for
// a complete one. Either way it is sent everything that was received before. The last Closed
// calls OnEnd.

// RelayConfig configures Relay and RelayTo. The zero RelayConfig is valid.
type RelayConfig struct {
	// IdleTimeout ends the relay with ErrTimeout when no byte has moved in either direction for
	// so long, and up to a quarter longer; zero: never. A byte that a peer takes slowly, from
	// the kernel's buffer, counts as well, where the system reports it.
	IdleTimeout time.Duration
	// DialTimeout is how long RelayTo waits for the connection to the server; zero: as long as
	// the system does, a minute or more. Relay ignores it.
	DialTimeout time.Duration
	// OnEnd, unless it is nil, is called once, when both connections have ended, in place of
	// their Closed: on the loop of the one that ended last, so it must not block.
	OnEnd func(RelayEnd)
}

// RelayEnd reports how a relay has ended.
type RelayEnd struct {
	// A and B are the connections. For RelayTo, A is the client and B the server, or nil if
	// there was no connection to it. RemoteAddr still returns their peers' addresses, unless
	// a peer had reset its connection before the relay began (Conn.RemoteAddr).
	A, B *Conn
	// BytesAToB and BytesBToA are how many bytes of each direction the kernel took for the
	// receiving side, also those of a send that was in progress when the connection ended. (On
	// Windows with overlapped I/O, such a send may count as not taken.) That the kernel took them does
	// not mean that the peer got them: a reset discards what is in the kernel's buffers.
	BytesAToB, BytesBToA int64
	// From is the connection whose end, other than by FIN, ended the relay. It is nil if both
	// directions ended with FIN, at the idle timeout, and if RelayTo could not dial.
	From *Conn
	// Err is nil if both directions ended with FIN: then each side was sent everything that the
	// other one sent. Otherwise it is a *net.OpError with From's RemoteAddr that wraps the reason
	// of From's end (ECONNRESET, ErrAborted, ErrShutdown …), or ErrClosed if the program closed
	// it without one; ErrTimeout at the idle timeout; or the error of RelayTo's dial.
	Err error
}

// Relay couples two connections: what one peer sends goes to the other one, in order, both ways,
// until both have ended. The connections may be of different loops, and of different groups. Their
// handlers are replaced: these are not called any more, not even Closed. Bytes that a handler has
// left unconsumed are sent first. A FIN that was received before is passed on, also if the handler
// has got ReadClosed. Paused connections resume.
//
// The directions are independent of each other. FIN is passed on after the bytes before it, as by
// CloseWrite; after both FINs, both connections are closed. While more than the high watermark is
// unsent to one side, the other one is not read, until the low one is reached (Conn.SetWatermarks):
// a slow peer delays what is sent to it, and nothing else. SetBackpressure has no effect meanwhile.
//
// If one connection ends in another way, the other one is sent what was received before, and then
// it ends, too, within Config.MaxLinger: as by Close if the program has called Close, and else by a
// reset, because its peer has not got a complete stream. (A Unix socket has no reset: its peer reads
// the end of the stream.) What its peer sends meanwhile is dropped. For the same reason a connection
// that ends at a timeout or by Shutdown is reset, unless FIN was passed on to it.
//
// The timeouts of the connections stay in force: remove a read deadline that was set for a first
// message. During the group's shutdown, a relay goes on until the peers have closed their sides, or
// the context ends.
//
// Relay may be called from any goroutine, also in callbacks of the connections, and never blocks.
// If it returns an error, it has had no effect: ErrClosed if a connection is closed, being closed,
// or CloseWrite was called on it; ErrBadArgument if one is nil or relayed already, both are the
// same, or a field of config is negative. Until OnEnd is called, the program must not call Write
// and its variants, CloseWrite, Pause, Resume, SetHandler and Detach on them, nor have them in a
// Fanout. It may call Close, CloseWith, Abort and AbortWith, which end the relay, and all methods
// that only report something or set an option.
func Relay(a, b *Conn, config RelayConfig) error {
	if err := config.validate(); err != nil {
		return fmt.Errorf("loop: relay: %w", err)
	}
	switch {
	case a == nil || b == nil:
		return fmt.Errorf("loop: relay: %w", errNil("a connection"))
	case a == b:
		return a.opError("relay", fmt.Errorf("%w: two connections are needed, not one twice", ErrBadArgument))
	}
	r := &relay{config: config, open: 2}
	r.a = relaySide{relay: r, conn: a, other: &r.b, out: direction{from: a, to: b}}
	r.b = relaySide{relay: r, conn: b, other: &r.a, out: direction{from: b, to: a}}
	return r.begin()
}

func (c *RelayConfig) validate() error {
	switch {
	case c.IdleTimeout < 0:
		return fmt.Errorf("%w: IdleTimeout is %v; it must not be negative", ErrBadArgument, c.IdleTimeout)
	case c.DialTimeout < 0:
		return fmt.Errorf("%w: DialTimeout is %v; it must not be negative", ErrBadArgument, c.DialTimeout)
	}
	return nil
}

type relay struct {
	config RelayConfig
	a, b   relaySide
	idle   relayIdle // accessed by a's loop

	installed atomic.Int32 // handlers in force
	finished  atomic.Int32 // directions that have ended with FIN

	mu   sync.Mutex
	open int   // connections whose Closed has not been called
	from *Conn // for RelayEnd
	err  error
}

// relaySide is the handler of one of the two connections.
type relaySide struct {
	relay *relay
	conn  *Conn
	other *relaySide
	out   direction // from conn to other
}

var (
	_ Handler           = (*relaySide)(nil)
	_ ReadClosedHandler = (*relaySide)(nil)
	_ DrainedHandler    = (*relaySide)(nil)
	_ ClosedHandler     = (*relaySide)(nil)
	_ installer         = (*relaySide)(nil)
)

// coupling is held while the mu of two connections is: nothing else locks two of them.
var coupling sync.Mutex

// begin requests both handlers, or returns an error.
func (r *relay) begin() error {
	a, b := r.a.conn, r.b.conn
	coupling.Lock()
	a.mu.Lock()
	b.mu.Lock()
	c, err := a, a.relayableLocked()
	if err == nil {
		c, err = b, b.relayableLocked()
	}
	if err != nil {
		b.mu.Unlock()
		a.mu.Unlock()
		coupling.Unlock()
		return c.opError("relay", err)
	}
	a.makeExtrasLocked().next = &r.a
	b.makeExtrasLocked().next = &r.b
	a.requests &^= wantResume
	b.requests &^= wantResume
	b.submitAndUnlock(wantHandler | wantPause)
	a.submitAndUnlock(wantHandler | wantPause)
	coupling.Unlock()
	return nil
}

// relayableLocked returns an error if the connection cannot be relayed. One that is failing can:
// what it has received is sent to the other one. c.mu must be held.
func (c *Conn) relayableLocked() error {
	next := c.handler
	if c.extras != nil && c.extras.next != nil {
		next = c.extras.next
	}
	if _, ok := next.(*relaySide); ok && !c.phase.gone() {
		return fmt.Errorf("%w: the connection is relayed already", ErrBadArgument)
	}
	switch {
	case c.endsLocked():
		return ErrClosed
	case c.upcoming&layerRequested != 0:
		return ErrNotOpen
	case c.writeHalf == finRequested || c.writeHalf == finSent:
		return fmt.Errorf("%w: CloseWrite was called", ErrClosed)
	}
	return nil
}

// handlerInstalled implements installer.
func (s *relaySide) handlerInstalled(c *Conn) {
	c.resumeReading() // stopsReadingLocked is false from now on
	if c.flags&readEnded != 0 {
		c.flags |= eofPending // also if the handler before has got ReadClosed
	}
	r := s.relay
	if r.config.OnEnd != nil {
		c.keepRemoteAddr()
	}
	if s == &r.a {
		r.idle.start(r)
	}
	if r.installed.Add(1) == 2 {
		r.a.conn.Resume()
		r.b.conn.Resume()
	}
}

// Data implements Handler.
func (s *relaySide) Data(_ *Conn, b []byte) (int, error) { return s.out.move(b), nil }

// Drained implements DrainedHandler.
func (s *relaySide) Drained(*Conn) { s.other.out.drained() }

// ReadClosed implements ReadClosedHandler.
func (s *relaySide) ReadClosed(*Conn) {
	s.out.finish()
	if s.relay.finished.Add(1) == 2 {
		s.other.conn.Close()
		s.conn.Close()
	}
}

// Closed implements ClosedHandler.
func (s *relaySide) Closed(_ *Conn, why error) {
	r := s.relay
	complete := r.finished.Load() == 2 && !r.a.out.refused.Load() && !r.b.out.refused.Load()
	regular := complete && (why == nil || errors.Is(why, io.EOF))
	var err error
	if !regular {
		err = why
		if err == nil {
			err = ErrClosed
		}
		err = s.conn.opError("relay", err)
	}
	if s == &r.a {
		r.idle.stop(r)
	}
	r.mu.Lock()
	r.open--
	last := r.open == 0
	if r.err == nil && err != nil {
		r.from, r.err = s.conn, err
	}
	r.mu.Unlock()
	switch {
	case last:
		r.callOnEnd()
	case regular:
	case why == nil:
		s.other.conn.Close()
	default:
		s.other.conn.closeByReset(err)
	}
}

// callOnEnd calls OnEnd: both connections have ended.
func (r *relay) callOnEnd() {
	if r.config.OnEnd == nil {
		return
	}
	r.config.OnEnd(RelayEnd{
		A: r.a.conn, B: r.b.conn,
		BytesAToB: r.a.out.bytes(), BytesBToA: r.b.out.bytes(),
		From: r.from, Err: r.err,
	})
}
