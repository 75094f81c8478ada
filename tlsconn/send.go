package tlsconn

import (
	"io"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/tlsengine"
)

// Send implements driver.StreamDriver. It encrypts up to maxSendBytes at a time, and as long as the driver takes all.
// What it has encrypted before, and the driver has not taken, is what bufs begins with.
func (l *layer) Send(_ *driver.Stream, bufs [][]byte) (n int, err error) {
	switch x := l.ends; {
	case x != nil && x.send != nil:
		return 0, x.send
	case x != nil && x.receive != nil && x.receive != io.EOF:
		return 0, x.receive // for TLS it ends both directions
	case l.out != nil && l.out.marked > 0:
		l.state |= sendPending
		return 0, nil
	}
	for rest := (pieces{bufs: bufs}); !rest.done(); {
		o := l.outbox()
		err := l.encrypt(o, &rest)
		if err == nil {
			err = o.send(l.above.Driver, l.above.Stream)
		}
		n += o.takePlain()
		if err != nil {
			l.makeEnds().send = err
			l.dropOutbox()
			return n, err
		}
		if !o.empty() {
			l.state |= sendPending
			return n, nil
		}
		l.dropOutbox()
	}
	return n, nil
}

// encrypt puts records of plaintext into the outbox.
func (l *layer) encrypt(o *outbox, rest *pieces) error {
	e := l.engine.Load()
	left := min(rest.len(), maxSendBytes)
	o.tail(tlsengine.MaxSendBytes(left) + maxMarks*tlsengine.MaxSendBytes(1)) // once for all
	for left > 0 {
		piece := rest.next(min(left, tlsengine.MaxPlaintextBytes), l.shared)
		left -= len(piece)
		records, err := e.Send(o.tail(tlsengine.MaxSendBytes(len(piece))), piece)
		if err != nil {
			return err
		}
		o.appended(records)
		o.mark(len(piece))
	}
	return nil
}

func (l *layer) outbox() *outbox {
	if l.out == nil {
		l.out = l.shared.getOutbox()
	}
	return l.out
}

// dropOutbox releases the outbox, unless a Send of the driver is in flight: then Sent does.
func (l *layer) dropOutbox() {
	if o := l.out; o != nil && !o.inFlight {
		l.out = nil
		l.shared.putOutbox(o)
	}
}

// sendRecords sends records of TLS itself: the handshake, alerts, answers.
func (l *layer) sendRecords(records []byte) {
	if l.sendErr() != nil {
		return
	}
	o := l.outbox()
	o.append(records)
	if err := o.send(l.above.Driver, l.above.Stream); err != nil {
		l.sendFailed(0, err)
		return
	}
	switch unsent := o.unsent(); {
	case unsent == 0:
		l.dropOutbox()
	case unsent > cloggedBytes && l.connected.Load():
		l.state |= clogged
	}
}

// SendBlocked implements driver.StreamDriver.
func (l *layer) SendBlocked(s *driver.Stream) bool {
	return l.out != nil && l.out.inFlight && l.above.Driver.SendBlocked(s)
}

// Sent implements driver.StreamUpcalls.
func (l *layer) Sent(n int, err error) {
	o := l.out
	o.sent(n)
	if l.has(gone) {
		l.sentAfterRelease(err)
		return
	}
	if err == nil {
		err = o.send(l.above.Driver, l.above.Stream)
	}
	plain := o.takePlain()
	switch {
	case err != nil:
		l.sendFailed(plain, err)
		return
	case o.empty():
		l.dropOutbox()
	}
	if plain > 0 && l.has(sendPending) {
		l.reportSent(plain, nil)
	}
	if l.out == nil && l.has(closePending) {
		l.finishCloseWrite(nil)
	}
	if l.has(clogged) && (l.out == nil || l.out.unsent() <= cloggedBytes/2) {
		l.state &^= clogged
		l.proceed()
	}
}

// reportSent is the loop's Sent.
func (l *layer) reportSent(n int, err error) {
	l.state &^= sendPending
	l.above.Up.Sent(n, err)
}

// sendFailed handles an error of the driver's Send outside of the loop's, which gets it as an error of its own Send or
// CloseWrite, if one is in flight. If not, it gets it as a failure: without answers to the peer TLS cannot go on.
func (l *layer) sendFailed(plain int, err error) {
	l.makeEnds().send = err
	l.dropOutbox()
	switch {
	case l.hs != nil:
		if e := l.engine.Load(); e != nil {
			e.Abort(err)
		}
	case l.has(sendPending):
		l.reportSent(plain, err)
	case l.has(closePending):
		l.finishCloseWrite(err)
	case l.connected.Load():
		l.fail(err)
	}
}

// pieces is plaintext that is encrypted record by record.
type pieces struct {
	bufs [][]byte
	off  int // in bufs[0]
}

func (p *pieces) done() bool { return p.len() == 0 }

// len returns the number of bytes, or maxSendBytes if there are more.
func (p *pieces) len() int {
	n := -p.off
	for _, b := range p.bufs {
		if n += len(b); n >= maxSendBytes {
			return maxSendBytes
		}
	}
	return n
}

// next returns the next n bytes: where they are, or copied to s.gather.
func (p *pieces) next(n int, s *shared) []byte {
	for len(p.bufs[0]) == p.off {
		p.bufs, p.off = p.bufs[1:], 0
	}
	if b := p.bufs[0][p.off:]; len(b) >= n {
		p.off += n
		return b[:n]
	}
	to := s.gather()[:0]
	for len(to) < n {
		b := p.bufs[0][p.off:]
		b = b[:min(len(b), n-len(to))]
		to = append(to, b...)
		if p.off += len(b); p.off == len(p.bufs[0]) {
			p.bufs, p.off = p.bufs[1:], 0
		}
	}
	return to
}
