package uring

import (
	"syscall"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/sys"
)

// Streams are in the epoll set of watches for events that no operation reports: that the
// stream is writable again after a send would have blocked, and that the connection has failed
// while no receive is in flight. The ring's own poll would complete again and again without
// waiting once the peer has sent FIN or urgent data, because it always includes EPOLLRDHUP and
// EPOLLPRI. Errors and hang-ups are always reported (epoll_ctl(2)), so a stream that was once
// paused stays in the set, where it costs nothing until it fails.

// streamEvent marks the events of streams in the epoll set.
const streamEvent = uint64(1) << 63

// joinSet has the epoll set report events of the stream, edge-triggered, besides errors and
// hang-ups. It reports whether that succeeded.
func (d *Driver) joinSet(s *driver.Stream, events uint32) bool {
	if d.openWatches() != nil {
		return false
	}
	op := sys.EPOLL_CTL_ADD
	if s.Flags&inSet != 0 {
		op = sys.EPOLL_CTL_MOD
	}
	ev := sys.MakeEpollEvent(events|sys.EPOLLET, streamEvent|uint64(s.Index))
	if e := sys.EpollCtl(d.watches.epfd, op, d.fdOf(s), &ev); e != 0 {
		return false
	}
	s.Flags |= inSet
	return true
}

// leaveSet removes the stream from the epoll set.
func (d *Driver) leaveSet(s *driver.Stream) {
	if s.Flags&inSet != 0 {
		s.Flags &^= inSet | awaitingWritable
		var none sys.EpollEvent
		sys.EpollCtl(d.watches.epfd, sys.EPOLL_CTL_DEL, d.fdOf(s), &none)
	}
}

// awaitStreamWritable has the epoll set report that the stream is writable. It reports whether
// that succeeded.
func (d *Driver) awaitStreamWritable(s *driver.Stream) bool {
	if !d.joinSet(s, sys.EPOLLOUT) {
		return false
	}
	s.Flags |= awaitingWritable
	return true
}

// awaitFailure makes sure that a failure of a stream that is not receiving is reported: by this
// turn if it is known, and else when the epoll set reports one.
func (d *Driver) awaitFailure(s *driver.Stream) {
	if s.Flags&failed != 0 || d.slots.At(s.Index).end > 0 {
		d.AddBusy(s)
	} else if s.Flags&inSet == 0 {
		d.joinSet(s, 0) // if it fails, the next Resume or Send finds the failure
	}
}

// setEvent handles an event of a stream.
func (d *Driver) setEvent(index uint32, events uint32) {
	s := d.slots.At(index).stream
	if s == nil || s.Flags&inSet == 0 {
		return
	}
	fails := events&(sys.EPOLLERR|sys.EPOLLHUP) != 0
	if s.Flags&awaitingWritable != 0 {
		s.Flags &^= awaitingWritable
		d.joinSet(s, 0)
		s.Up.Sent(0, nil)
	}
	if fails && s.Flags&gone == 0 {
		s.Flags |= failed
		d.reportFailure(s)
	}
}

// reportFailure reports that the connection has failed, if no receive is going to.
func (d *Driver) reportFailure(s *driver.Stream) {
	if s.Flags&(gone|connecting|failureReported) != 0 || !s.MissesFailure() {
		return
	}
	var err error
	if x := d.slots.At(s.Index); x.end > 0 {
		err = receiveError(s, syscall.Errno(x.end)) // ReceiveEnded reports it again, after the held data
	} else if s.Flags&failed != 0 {
		err = stream.Of(s).TakeFailure() // nil if both sides have closed without an error
	}
	s.Flags &^= failed
	if err != nil {
		s.ReportFailed(err)
	}
}
