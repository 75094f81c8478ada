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
	wants       bool   // the loop receives
	wantsBelow  bool   // the driver does
	raw         []byte // received and not decoded
	held        []byte // decoded and not delivered
	ended       bool   // the driver reports nothing more
	end         error  // what it reported, or the peer's record of the end
	endReported bool   // ReceiveEnded was called
	failed      bool   // Failed was called
	inner       bool   // the peer's record of the end was received

	// Sending.
	out          []byte // being sent
	plain        int    // bytes of the loop that are complete when out is sent
	done         int    // those that are complete, and not reported
	inFlight     bool   // the driver is to call Sent
	loopWaits    bool   // the loop waits for Sent
	finRequested bool   // CloseWrite was called
	finDone      bool
	finWaits     bool // the loop waits for Sent(0, err) of CloseWrite
	again        bool // Sent(0, nil) is due: a part was not tried
	sendErr      error
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
