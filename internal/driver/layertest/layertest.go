// Package layertest has a layer for tests: one that keeps the bytes, or frames them, and does at random
// what the contract of driver.Layer allows.
package layertest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"

	"github.com/pollux-io/pollux/internal/driver"
)

// Options are what a layer does. The zero value passes bytes on as they are.
type Options struct {
	Seed uint64
	// Frames: bytes are sent in records with a header, after a greeting, and the end of the stream is a
	// record, too. The other end must have a layer with Frames.
	Frames bool
	// Adverse: bytes are delivered in pieces, some of them later, sends are cut, and what may be done
	// later is.
	Adverse bool
	// Whole: what was received at once is not cut if it is not longer. Tests of others may take a short
	// message for one piece.
	Whole int
	// Async: Start's result comes from another goroutine.
	Async bool
	// Fail is the error that Start reports.
	Fail error
	// Silent: Start's result never comes.
	Silent bool
}

// ErrTruncated is the end of a stream with Frames that has no record of its end.
var ErrTruncated = fmt.Errorf("layertest: the stream was cut off: %w", io.ErrUnexpectedEOF)

var errGreeting = errors.New("layertest: the greeting is wrong")

const (
	headerBytes = 5
	maxRecord   = 16 << 10
	maxOut      = 64 << 10
	greeting    = "layertest\n"
)

// New returns a layer.
func New(above driver.Above, o Options) driver.Layer {
	return &layer{Above: above, o: o, random: rand.New(rand.NewPCG(o.Seed, 1))}
}

type layer struct {
	driver.Above
	o      Options
	random *rand.Rand

	started, connected, released bool
	queued                       bool // run is about to be called

	// Receiving.
	wants      bool   // the loop receives
	wantsBelow bool   // the driver does
	raw        []byte // received and not decoded
	held       []byte // decoded and not delivered
	ended      bool   // the driver reports nothing more
	end        error  // what it reported, or the peer's record of the end
	endTold    bool   // ReceiveEnded was called
	failed     bool   // Failed was called
	inner      bool   // the peer's record of the end was received

	// Sending.
	out       []byte // being sent
	plain     int    // bytes of the loop that are complete when out is sent
	done      int    // those that are complete, and not reported
	inFlight  bool   // the driver is to call Sent
	loopWaits bool   // the loop waits for Sent
	finAsked  bool   // CloseWrite was called
	finDone   bool
	finWaits  bool // the loop waits for Sent(0, err) of CloseWrite
	again     bool // Sent(0, nil) is due: a part was not tried
	sendErr   error
}

var _ driver.Layer = (*layer)(nil)

// check ends the process if the loop breaks the contract: it would recover a panic.
func (l *layer) check(ok bool, what string) {
	if !ok {
		message := fmt.Sprintf("layertest: the loop breaks the contract: %s\n%s", what, debug.Stack())
		go panic(message)
		select {}
	}
}

// later calls run soon.
func (l *layer) later() {
	if !l.queued && !l.released {
		l.queued = l.Run(l.run)
	}
}

// Start implements driver.Layer.
func (l *layer) Start(received []byte) {
	l.check(!l.started, "Start is called once")
	l.started = true
	l.raw = append(l.raw, received...)
	if l.o.Silent {
		return
	}
	if l.o.Frames {
		l.out = append(l.out, greeting...)
		l.push()
		l.resumeBelow()
	}
	if l.o.Async {
		l.queued = true
		go func() {
			if !l.Run(l.run) {
				return
			}
		}()
		return
	}
	l.later()
}

// run does what is due, outside of upcalls of the driver.
func (l *layer) run() {
	l.queued = false
	if l.released {
		return
	}
	if !l.connected {
		l.connect()
		return
	}
	l.sendDue()
	l.deliver()
	if !l.released && l.wants && len(l.held) == 0 && !l.ended {
		l.resumeBelow()
	}
}

func (l *layer) connect() {
	switch {
	case l.o.Silent:
		return
	case l.o.Fail != nil:
		l.Up.Connected(l.o.Fail)
		return
	case l.ended && l.o.Frames:
		err := l.end
		if errors.Is(err, io.EOF) {
			err = ErrTruncated
		}
		l.Up.Connected(err)
		return
	case l.o.Frames && len(l.raw) < len(greeting):
		return // Received calls later
	case l.o.Frames && string(l.raw[:len(greeting)]) != greeting:
		l.Up.Connected(errGreeting)
		return
	case l.inFlight:
		return // Sent calls later
	}
	if l.o.Frames {
		l.raw = l.raw[len(greeting):]
	}
	l.connected = true
	l.Up.Connected(nil)
	l.later() // what is in raw
}

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
	if l.ended && !l.endTold {
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
	case l.endTold:
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
	l.endTold = true
	if l.inner && !l.ended {
		l.resumeBelow() // to see the end below
	}
	l.Up.ReceiveEnded(err)
}

// reportFailure reports an error that no ReceiveEnded reports now.
func (l *layer) reportFailure() {
	if l.ended && !l.failed && !errors.Is(l.end, io.EOF) && (!l.wants || l.endTold) && !l.released {
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

// Connected implements driver.StreamUpcalls.
func (l *layer) Connected(error) { panic("layertest: the driver connects again") }

// Released implements driver.StreamUpcalls.
func (l *layer) Released() { l.Up.Released() }

// Release implements driver.StreamDriver.
func (l *layer) Release(s *driver.Stream) {
	l.check(!l.released, "Release is called once")
	l.released, l.wants, l.raw, l.held = true, false, nil, nil
	l.Driver.Release(s)
}

// SyncSend implements driver.StreamDriver.
func (l *layer) SyncSend() bool { return true }

// SendBlocked implements driver.StreamDriver.
func (l *layer) SendBlocked(s *driver.Stream) bool { return l.inFlight && l.Driver.SendBlocked(s) }

// Send implements driver.StreamDriver.
func (l *layer) Send(_ *driver.Stream, bufs [][]byte) (int, error) {
	l.check(l.connected && !l.released, "Send comes between Connected and Release")
	l.check(!l.loopWaits && !l.finAsked, "Send comes after Sent, and before CloseWrite")
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

// sendDue does what waits for a send.
func (l *layer) sendDue() {
	if l.released || l.inFlight {
		return
	}
	if l.again {
		l.again, l.loopWaits = false, false
		l.Up.Sent(0, nil)
	}
	if l.finAsked && !l.finDone && !l.released && !l.inFlight {
		err := l.fin()
		if l.finWaits && l.finDone {
			l.finWaits = false
			l.Up.Sent(0, err)
		}
	}
}

// CloseWrite implements driver.Layer.
func (l *layer) CloseWrite(*driver.Stream) (bool, error) {
	l.check(l.connected && !l.released && !l.loopWaits && !l.finAsked, "CloseWrite comes once, when all was sent")
	l.finAsked = true
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
