package layertest

import (
	"errors"
	"fmt"
	"io"

	"github.com/pollux-io/pollux/internal/driver"
)

func (l *layer) resumeBelow() {
	if !l.wantsBelow && !l.released {
		l.wantsBelow = true
		l.Driver.Resume(l.Stream)
	}
}

func (l *layer) pauseBelow() {
	if l.wantsBelow && !l.released {
		l.wantsBelow = false
		l.Driver.Pause(l.Stream)
	}
}

// Resume implements driver.StreamDriver.
func (l *layer) Resume(*driver.Stream) {
	l.check(l.connected && !l.released, "Resume comes between Connected and Release")
	l.wants = true
	if len(l.held) > 0 || len(l.raw) > 0 || l.ended {
		l.later()
		return
	}
	l.resumeBelow()
}

// Pause implements driver.StreamDriver.
func (l *layer) Pause(*driver.Stream) {
	l.check(l.connected && !l.released, "Pause comes between Connected and Release")
	l.wants = false
	l.pauseBelow()
	if l.ended && !l.endReported {
		l.later() // for Failed
	}
}

// Received implements driver.StreamUpcalls.
func (l *layer) Received(b []byte) bool {
	l.raw = append(l.raw, b...)
	if !l.connected {
		l.later()
		return l.wantsBelow
	}
	if l.o.Adverse && len(b) > l.o.Whole && l.random.IntN(4) == 0 {
		l.later()
		l.wantsBelow = l.wantsBelow && l.random.IntN(2) == 0
		return l.wantsBelow
	}
	l.deliver()
	switch {
	case l.released:
		return false
	case l.wants && len(l.held) == 0:
		l.resumeBelow() // the loop may have paused and resumed: then the result does not suffice
	default:
		l.wantsBelow = false
	}
	return l.wantsBelow
}

// decode moves complete records from raw to held.
func (l *layer) decode() {
	if !l.o.Frames {
		l.held, l.raw = append(l.held, l.raw...), nil
		return
	}
	for len(l.raw) >= headerBytes && !l.inner {
		n := int(l.raw[1])<<8 | int(l.raw[2])
		if l.raw[0] != 'r' || n > maxRecord {
			panic(fmt.Sprintf("layertest: a record begins with %q", l.raw[:headerBytes]))
		}
		if len(l.raw) < headerBytes+n {
			break
		}
		if n == 0 {
			l.inner = true
		}
		l.held = append(l.held, l.raw[headerBytes:headerBytes+n]...)
		l.raw = l.raw[headerBytes+n:]
	}
	if len(l.raw) == 0 {
		l.raw = nil
	}
}

// deliver delivers what was received, and the end.
func (l *layer) deliver() {
	l.decode()
	for l.wants && len(l.held) > 0 && !l.released {
		piece := l.held
		if l.o.Adverse && len(piece) > l.o.Whole {
			piece = piece[:1+l.random.IntN(len(piece))]
			if l.random.IntN(8) == 0 {
				l.later()
				return
			}
		}
		if l.held = l.held[len(piece):]; len(l.held) == 0 {
			l.held = nil
		}
		l.wants = l.Up.Received(piece) && !l.released
	}
	if len(l.held) == 0 && !l.released {
		l.deliverEnd()
	} else {
		l.reportFailure()
	}
}

func (l *layer) deliverEnd() {
	err := l.end
	switch {
	case l.endReported:
		if l.ended && !errors.Is(l.end, io.EOF) {
			l.reportFailure() // after the inner end
		}
		return
	case l.inner:
		err = io.EOF
	case !l.ended:
		return
	case l.o.Frames && errors.Is(err, io.EOF):
		err = ErrTruncated
	}
	if !l.wants {
		l.reportFailure()
		return
	}
	l.endReported = true
	if l.inner && !l.ended {
		l.resumeBelow() // to see the end below
	}
	l.Up.ReceiveEnded(err)
}

// reportFailure reports an error that no ReceiveEnded reports now.
func (l *layer) reportFailure() {
	if l.ended && !l.failed && !errors.Is(l.end, io.EOF) && (!l.wants || l.endReported) && !l.released {
		l.failed = true
		l.Up.Failed(l.end)
	}
}

// ReceiveEnded implements driver.StreamUpcalls.
func (l *layer) ReceiveEnded(err error) {
	l.ended, l.end, l.wantsBelow = true, err, false
	// An error is not held back: a send would find another one, and that would be the reason.
	if !l.connected || l.o.Adverse && errors.Is(err, io.EOF) && l.random.IntN(2) == 0 {
		l.later()
		return
	}
	l.deliver()
}

// Failed implements driver.StreamUpcalls.
func (l *layer) Failed(err error) {
	if !l.connected {
		l.ended, l.end = true, err
		l.later()
		return
	}
	if !l.failed {
		l.failed = true
		l.Up.Failed(err)
	}
}
