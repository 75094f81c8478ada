package tlsconn

import (
	"io"

	"github.com/pollux-io/pollux/internal/tlsengine"
)

const (
	// maxJoinedBytes is the plaintext of a record that is moved, to be delivered together with that of the records
	// around it. Longer ones are delivered where they are.
	maxJoinedBytes = 2 << 10
	// maxDiscardedBytes is how much is received after the peer's close_notify, to find out how the connection ends.
	maxDiscardedBytes = 64 << 10
	// cloggedBytes is more ciphertext than what the loop sends makes: the rest are answers to the peer, and it does
	// not receive them. A few records, and what the driver delivers at once, may add to it.
	cloggedBytes = maxSendBytes + 32<<10
	// maxControlRecords is how many records without plaintext are decrypted at once; the rest waits for the next turn of
	// the loop. A KeyUpdate is 27 bytes, and costs as much as 16 KiB of plaintext: the loop's budget, which counts bytes,
	// would let one peer hold up the loop for a tenth of a second, each turn.
	maxControlRecords = 128
)

// Received implements driver.StreamUpcalls.
func (l *layer) Received(b []byte) bool {
	switch {
	case l.has(gone):
		return false
	case l.hs != nil:
		l.feed(b)
	case l.has(holding): // received by the driver before it was paused
		l.in = append(grow(l.shared.blocks, l.in, len(b)), b...)
	case l.endErr() != nil:
		l.ends.discarded += len(b) // RFC 8446, section 6.1
	case l.connected.Load():
		l.hold(l.records(b))
	}
	return l.receives()
}

// hold keeps what step will deliver, unless it is empty.
func (l *layer) hold(b []byte) {
	if len(b) > 0 && !l.has(gone) {
		l.state |= holding
		l.in = append(grow(l.shared.blocks, nil, len(b)), b...)
		l.requestStep()
	}
}

// records delivers the plaintext of the records in b, after what l.in has, and keeps an incomplete one. It returns what is
// left of b after maxControlRecords, or nil.
func (l *layer) records(b []byte) (rest []byte) {
	if l.in != nil {
		b = l.completeRecord(b)
	}
	e := l.engine.Load()
	// b[from:to] has plaintext that is not delivered. It is always before the next record.
	from, to, next := 0, 0, 0
	for control := 0; next < len(b) && l.endErr() == nil && !l.has(gone); {
		if control == maxControlRecords {
			rest = b[next:]
			break
		}
		n, more := e.Next(b[next:])
		if n == 0 {
			l.keep(b[next:], more)
			break
		}
		plain, err := e.Receive(b[next : next+n])
		next += n
		l.received(e, err)
		switch {
		case len(plain) == 0:
			control++
		case len(plain) <= maxJoinedBytes && (from < to || next < len(b)):
			to += copy(b[to:], plain)
		default:
			l.deliver(b[from:to])
			l.deliver(plain)
			from, to = next, next
		}
	}
	l.deliver(b[from:to])
	l.deliverEnd()
	return rest
}

// received sends what crypto/tls answers to a record, and notes an error. It is called before plaintext is delivered: a
// handler that then ends the connection does not keep back an alert.
func (l *layer) received(e *tlsengine.Conn, err error) {
	if err != nil {
		l.makeEnds().receive = err
	}
	if answer := e.TakeOutput(nil); len(answer) > 0 {
		l.sendRecords(answer)
	}
}

// deliver gives the loop plaintext.
func (l *layer) deliver(plain []byte) {
	if len(plain) > 0 && !l.has(gone) && !l.above.Up.Received(plain[:len(plain):len(plain)]) {
		l.state &^= receiving
	}
}

// completeRecord completes the record that l.in begins with, delivers it, and returns the rest of b. The block is released
// before that, unless the record is still incomplete.
func (l *layer) completeRecord(b []byte) []byte {
	e := l.engine.Load()
	n, more := e.Next(l.in)
	for n == 0 {
		take := min(more, len(b))
		l.in = append(grow(l.shared.blocks, l.in, more), b[:take]...)
		b = b[take:]
		if take < more {
			return nil
		}
		n, more = e.Next(l.in)
	}
	record := l.in
	l.in = nil
	plain, err := e.Receive(record)
	l.received(e, err)
	l.deliver(plain)
	release(l.shared.blocks, record)
	return b
}

// keep stores the beginning of a record, of which more bytes are missing at least.
func (l *layer) keep(b []byte, more int) {
	l.in = append(grow(l.shared.blocks, nil, len(b)+more), b...)
}

// deliverHeld delivers what is held, once the loop receives, and then the end of that, if it is known.
func (l *layer) deliverHeld() {
	if l.has(holding) && l.has(receiving) && !l.has(gone|clogged) && l.endErr() == nil {
		b := l.in
		l.in = nil
		l.state &^= holding
		l.hold(l.records(b))
		release(l.shared.blocks, b)
	}
	if err := l.rawEnd(); err != nil && !l.has(holding|gone) {
		l.ends.raw = nil
		l.rawReceiveEnded(err)
	}
}

// deliverEnd reports the end to the loop: once it receives, and before that if it is a failure.
func (l *layer) deliverEnd() {
	switch err := l.endErr(); {
	case err == nil || l.has(ended|gone|holding):
	case l.has(receiving):
		l.state |= ended
		if err != io.EOF {
			l.state |= failed
		}
		l.above.Up.ReceiveEnded(err)
	case err != io.EOF:
		l.fail(err)
	}
}

// fail reports a failure to the loop, once.
func (l *layer) fail(err error) {
	if !l.has(failed|gone) && !l.bothEnded() {
		l.state |= failed
		l.above.Up.Failed(err)
	}
}

// ReceiveEnded implements driver.StreamUpcalls.
func (l *layer) ReceiveEnded(err error) {
	switch {
	case l.has(gone):
	case l.hs != nil:
		l.rawEnded(err)
	case l.has(holding):
		l.makeEnds().raw = err
	case l.connected.Load():
		l.rawReceiveEnded(err)
	}
}

// rawReceiveEnded handles the end of what the driver receives.
func (l *layer) rawReceiveEnded(err error) {
	x := l.makeEnds()
	switch {
	case x.receive != nil: // close_notify was the end, or an error
		if err != io.EOF {
			l.fail(err)
		}
		return
	case err != io.EOF:
		x.receive = err
	case x.send != nil: // which was the only report of a failure
		x.receive = x.send
	default:
		x.receive = l.engine.Load().ReceiveEnd()
	}
	l.dropIn()
	l.deliverEnd()
}

// Failed implements driver.StreamUpcalls.
func (l *layer) Failed(err error) {
	switch {
	case l.has(gone):
	case l.hs != nil:
		l.rawEnded(err)
	case l.connected.Load():
		l.fail(err)
	}
}
