package sim

import (
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/sock"
)

// Resume implements driver.Driver.
func (d *Driver) Resume(s *driver.Stream) {
	if s.Flags&(receiving|ended|gone) != 0 {
		return
	}
	s.Flags = s.Flags&^keeping | receiving
	if d.hasMore(s) {
		d.AddBusy(s)
	}
}

// Pause implements driver.Driver.
func (d *Driver) Pause(s *driver.Stream) {
	if s.Flags&gone != 0 {
		return
	}
	s.Flags &^= receiving
	if x := d.flow(s); s.Flags&failed != 0 || len(x.ahead) > 0 || x.end != nil {
		d.AddBusy(s) // to report the failure, which no receive will, and to deliver what is ahead late
	}
}

// hasMore reports whether there may be something to receive.
func (d *Driver) hasMore(s *driver.Stream) bool {
	x := d.flow(s)
	return s.Flags&readable != 0 || len(x.ahead) > 0 || x.end != nil
}

// receive delivers received data, up to the budget.
func (d *Driver) receive(s *driver.Stream) {
	for left := d.Budget; left > 0; {
		b, err := d.next(s, left)
		if err == sock.ErrWouldBlock {
			return
		}
		if err != nil {
			s.ReportReceiveEnded(err)
			return
		}
		d.deliverBytes(s, b)
		if s.Flags&(gone|receiving) != receiving || !d.hasMore(s) {
			return
		}
		left -= len(b)
	}
	d.AddBusy(s)
}

// deliverBytes delivers bytes in the driver's memory.
func (d *Driver) deliverBytes(s *driver.Stream, b []byte) {
	if !s.Up.Received(b) {
		d.Pause(s)
	}
	if d.adversity.SpoilMemory {
		for i := range b {
			b[i] = 0xdb
		}
	}
}

// next returns the next bytes of a stream that is receiving, at most the given number, or how receiving
// has ended.
func (d *Driver) next(s *driver.Stream, most int) ([]byte, error) {
	x := d.flow(s)
	switch {
	case len(x.ahead) > 0:
		return d.takeAheadOf(s, most), nil
	case x.end != nil:
		err := x.end
		x.end = nil
		return nil, err
	case s.Flags&readable == 0:
		return nil, sock.ErrWouldBlock
	}
	return d.read(s, d.scratch[:min(len(d.scratch), most)])
}

// takeAheadOf returns some of the bytes that were received ahead.
func (d *Driver) takeAheadOf(s *driver.Stream, most int) []byte {
	x := d.flow(s)
	n := d.dice.part(min(len(x.ahead), len(d.scratch), most), d.adversity.PartialReceives)
	b := x.ahead[:n:n]
	x.ahead = x.ahead[n:]
	return b
}

// read receives into b, or a part of it. Once that falls short, the socket reports when there is more.
func (d *Driver) read(s *driver.Stream, b []byte) ([]byte, error) {
	b = b[:d.dice.part(len(b), d.adversity.PartialReceives)]
	d.oneBuffer[0] = b
	n, e := d.flow(s).socket.Recv(d.oneBuffer[:], 0)
	n, err := stream.Of(s).Received(n, len(b), e)
	if err != nil || n < len(b) {
		s.Flags &^= readable
	}
	return b[:n:n], err
}

// receiveAhead receives bytes of a stream before deliver delivers them. A stream that is paused
// meanwhile has late bytes.
func (d *Driver) receiveAhead(s *driver.Stream) {
	x := d.flow(s)
	if s.Flags&(receiving|connecting|ended|gone) != receiving || len(x.ahead) > 0 || x.end != nil {
		return
	}
	if x.memory == nil {
		x.memory = make([]byte, d.adversity.LateBytes)
	}
	b, err := d.read(s, x.memory)
	switch {
	case err == nil:
		x.ahead = b
	case err != sock.ErrWouldBlock:
		x.end = err
	}
}

// receiveLate delivers bytes that were received ahead to a stream that is paused, or keeps them until
// Resume.
func (d *Driver) receiveLate(s *driver.Stream) {
	if len(d.flow(s).ahead) == 0 || s.Flags&keeping != 0 {
		return
	}
	if s.Flags&failureReported != 0 || d.dice.IntN(2) == 0 {
		s.Flags |= keeping
		return
	}
	d.deliverBytes(s, d.takeAheadOf(s, d.Budget))
	if s.Flags&(gone|receiving) == 0 && len(d.flow(s).ahead) > 0 {
		d.AddBusy(s)
	}
}

// drain delivers what was received ahead to a stream that was detached, up to the budget, and then
// releases it.
func (d *Driver) drain(s *driver.Stream) {
	x := d.flow(s)
	for left := d.Budget; left > 0 && len(x.ahead) > 0; {
		b := d.takeAheadOf(s, left)
		d.deliverBytes(s, b)
		left -= len(b)
	}
	if len(x.ahead) > 0 {
		d.AddBusy(s)
		return
	}
	if err := x.end; err != nil {
		x.end = nil
		s.Up.ReceiveEnded(err)
	}
	s.Flags &^= draining
	d.finishOrDelay(s)
}
