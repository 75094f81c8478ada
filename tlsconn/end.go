package tlsconn

import (
	"io"

	"github.com/pollux-io/pollux/internal/driver"
)

// maxAlertTurns is for how many turns of the loop a released stream stays open for its last alert, if the driver has
// not yet passed it to the system. A driver needs one or two.
const maxAlertTurns = 8

// ends is how the directions of a stream end.
type ends struct {
	raw     error // what the driver has reported as its end, io.EOF or a failure, for after the handshake and holding
	receive error // why nothing more can be received, once known
	send    error // why the driver sends no more

	discarded  int // bytes received after the peer's close_notify
	alertTurns int // turns of the loop since Release, while releasing is set
}

// makeEnds returns ends, creating it if needed.
func (l *layer) makeEnds() *ends {
	if l.ends == nil {
		l.ends = &ends{}
	}
	return l.ends
}

func (l *layer) rawEnd() error {
	if l.ends == nil {
		return nil
	}
	return l.ends.raw
}

func (l *layer) endErr() error {
	if l.ends == nil {
		return nil
	}
	return l.ends.receive
}

func (l *layer) sendErr() error {
	if l.ends == nil {
		return nil
	}
	return l.ends.send
}

// CloseWrite implements driver.Layer: close_notify, and then FIN.
func (l *layer) CloseWrite(s *driver.Stream) (done bool, err error) {
	if err := l.sendErr(); err != nil {
		return false, err
	}
	l.state |= closeStarted
	o := l.outbox()
	o.append(l.engine.Load().CloseNotify(nil))
	if err := o.send(l.above.Driver, l.above.Stream); err != nil {
		l.makeEnds().send = err
		l.dropOutbox()
		return l.endResult(err)
	}
	if !o.empty() {
		l.state |= closePending
		return false, nil
	}
	l.dropOutbox()
	return l.endResult(s.CloseWrite())
}

// finishCloseWrite is the end of a CloseWrite that was in flight.
func (l *layer) finishCloseWrite(err error) {
	l.state &^= closePending
	if err == nil {
		err = l.above.Stream.CloseWrite()
	}
	_, err = l.endResult(err)
	l.above.Up.Sent(0, err)
}

// endResult is the result of CloseWrite after err, or nil.
func (l *layer) endResult(err error) (done bool, _ error) {
	if err == nil || l.bothEnded() {
		return true, nil
	}
	return false, err
}

// bothEnded reports whether both sides have sent close_notify. The stream is complete then, and an error of the socket is not
// reported: a peer that closes its socket after its close_notify, as crypto/tls and most others do, answers ours with a
// reset.
func (l *layer) bothEnded() bool { return l.has(closeStarted) && l.endErr() == io.EOF }

// Release implements driver.StreamDriver. If the connection ends with an alert that the driver has not yet passed to the
// system, the driver's Release follows when it has: the peer shall know the reason.
func (l *layer) Release(s *driver.Stream) {
	if l.has(gone) {
		return
	}
	l.state |= gone
	if hs := l.hs; hs != nil {
		hs.stopTimer()
		l.hs = nil
		l.shared.group.failed.Add(1)
		if e := l.engine.Load(); e != nil {
			e.Abort(errReleased)
		}
	}
	l.dropIn()
	if l.awaitsAlert() && l.requestStep() {
		l.state |= releasing
		l.above.Driver.Pause(s)
		return
	}
	l.above.Driver.Release(s)
}

// awaitsAlert reports whether an alert is with the driver, which will pass it on soon.
func (l *layer) awaitsAlert() bool {
	err := l.endErr()
	return l.out != nil && l.out.inFlight && (l.has(closePending) || err != nil && err != io.EOF) &&
		!l.above.Driver.SendBlocked(l.above.Stream)
}

// releaseAfterAlert is step after Release.
func (l *layer) releaseAfterAlert() {
	if !l.has(releasing) {
		return
	}
	x := l.makeEnds()
	if x.alertTurns++; x.alertTurns < maxAlertTurns && l.awaitsAlert() && l.requestStep() {
		return
	}
	l.releaseNow()
}

func (l *layer) releaseNow() {
	l.state &^= releasing
	l.above.Driver.Release(l.above.Stream)
}

// sentAfterRelease is Sent after Release.
func (l *layer) sentAfterRelease(err error) {
	if plain := l.out.takePlain(); l.has(sendPending) && plain > 0 {
		l.reportSent(plain, err)
	}
	if !l.has(releasing) {
		return
	}
	if err == nil {
		err = l.out.send(l.above.Driver, l.above.Stream)
	}
	if err != nil || l.out.empty() {
		l.releaseNow()
	}
}

// Released implements driver.StreamUpcalls.
func (l *layer) Released() {
	if l.out != nil {
		l.out.inFlight = false
		l.dropOutbox()
	}
	l.above.Up.Released()
}
