package layertest

import "github.com/pollux-io/pollux/internal/driver"

// SyncSend implements driver.StreamDriver.
func (l *layer) SyncSend() bool { return true }

// SendBlocked implements driver.StreamDriver.
func (l *layer) SendBlocked(s *driver.Stream) bool { return l.inFlight && l.Driver.SendBlocked(s) }

// Send implements driver.StreamDriver.
func (l *layer) Send(_ *driver.Stream, bufs [][]byte) (int, error) {
	l.check(l.connected && !l.released, "Send comes between Connected and Release")
	l.check(!l.loopWaits && !l.finRequested, "Send comes after Sent, and before CloseWrite")
	if l.sendErr != nil {
		return 0, l.sendErr
	}
	total := 0
	for _, b := range bufs {
		total += len(b)
	}
	l.encode(bufs)
	n, err := l.push()
	if err != nil {
		l.sendErr = err
		return n, err
	}
	if n < total {
		l.loopWaits = true
		if !l.inFlight {
			l.again = true
			l.later()
		}
	}
	return n, nil
}

// encode appends a part of bufs to out.
func (l *layer) encode(bufs [][]byte) {
	limit := maxOut
	if l.o.Adverse {
		limit = 1 + l.random.IntN(maxOut)
	}
	for _, b := range bufs {
		for len(b) > 0 && limit > 0 {
			n := min(len(b), maxRecord, limit)
			l.record(b[:n])
			b, limit = b[n:], limit-n
			l.plain += n
		}
	}
}

func (l *layer) record(b []byte) {
	if l.o.Frames {
		l.out = append(l.out, 'r', byte(len(b)>>8), byte(len(b)), 0, 0)
	}
	l.out = append(l.out, b...)
}

// push sends out. It returns how many bytes of the loop are complete.
func (l *layer) push() (int, error) {
	for len(l.out) > 0 {
		n, err := l.Driver.Send(l.Stream, [][]byte{l.out})
		if err != nil {
			l.out, l.plain = nil, 0
			return 0, err
		}
		if n < len(l.out) {
			l.out, l.inFlight = l.out[n:], true
			if l.o.Frames {
				return 0, nil
			}
			l.plain -= n
			return n, nil
		}
		l.out = nil
	}
	n := l.plain
	l.plain = 0
	return n, nil
}

// Sent implements driver.StreamUpcalls.
func (l *layer) Sent(n int, err error) {
	l.inFlight = false
	l.out = l.out[n:]
	if !l.o.Frames {
		l.plain, l.done = l.plain-n, l.done+n
	}
	if err == nil && !l.released {
		n, err = l.push()
		if l.done += n; l.inFlight {
			return
		}
	} else if l.o.Frames && len(l.out) == 0 {
		l.plain, l.done = 0, l.plain
	}
	n, l.done = l.done, 0
	if err != nil {
		l.sendErr = err
	}
	if !l.connected {
		l.later()
		return
	}
	if l.loopWaits {
		l.loopWaits = false
		l.Up.Sent(n, err)
	}
	l.sendDue()
}

// sendDue makes the calls that a send in flight has postponed: Sent(0, nil) to the loop, and the end of the stream.
func (l *layer) sendDue() {
	if l.released || l.inFlight {
		return
	}
	if l.again {
		l.again, l.loopWaits = false, false
		l.Up.Sent(0, nil)
	}
	if l.finRequested && !l.finDone && !l.released && !l.inFlight {
		err := l.fin()
		if l.finWaits && l.finDone {
			l.finWaits = false
			l.Up.Sent(0, err)
		}
	}
}

// CloseWrite implements driver.Layer.
func (l *layer) CloseWrite(*driver.Stream) (bool, error) {
	l.check(l.connected && !l.released && !l.loopWaits && !l.finRequested, "CloseWrite comes once, when all was sent")
	l.finRequested = true
	if l.o.Frames && l.sendErr == nil {
		l.record(nil)
	}
	if l.o.Adverse && l.random.IntN(2) == 0 {
		l.finWaits = true
		l.later()
		return false, nil
	}
	err := l.fin()
	l.finWaits = !l.finDone
	return l.finDone, err
}

func (l *layer) fin() error {
	if l.inFlight {
		return nil
	}
	err := l.sendErr
	if err == nil {
		if _, err = l.push(); l.inFlight {
			return nil
		}
	}
	l.finDone = true
	if err == nil {
		err = l.Stream.CloseWrite()
	}
	return err
}
