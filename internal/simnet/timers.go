package simnet

import (
	"math"
	"syscall"
	"time"
)

// The times of Linux (tcp(7)).
const (
	connectTimeout = 127 * time.Second               // tcp_syn_retries is 6
	resendTimeout  = 924*time.Second + 600*1_000_000 // tcp_retries2 is 15
	never          = int64(math.MaxInt64)
)

// streamTimers has what ends a connection whose peer does not answer. One event is for all; when it
// comes it may be early, because progress does not reschedule it.
type streamTimers struct {
	event    event
	began    int64 // connecting
	progress int64 // when the peer last acknowledged something new, or the first byte was sent
	heard    int64 // when the last packet has arrived, with keep-alive
	probed   int64 // when the last probe was sent
	probes   int   // that were sent since a packet has arrived
	waiting  bool  // there are bytes, or a FIN, that are not acknowledged
}

func (t *streamSocket) initTimers() {
	t.timers.event = event{index: noIndex, do: t.timerLocked}
}

// openedLocked is called when the connection exists.
func (t *streamSocket) openedLocked() {
	t.net().cancelLocked(&t.timers.event)
	t.timers.heard = t.net().nowLocked()
	t.armLocked()
}

// heardLocked is called with each packet.
func (t *streamSocket) heardLocked() {
	if t.s.options.keepAlive || t.timers.probes > 0 {
		t.timers.heard, t.timers.probes = t.net().nowLocked(), 0
	}
}

// progressLocked is called when the peer has acknowledged something new or enlarged its window.
func (t *streamSocket) progressLocked() {
	if t.timers.waiting {
		t.timers.progress = t.net().nowLocked()
	}
}

// outstanding reports whether there is something that the peer has not acknowledged or not let us send.
func (t *streamSocket) outstanding() bool { return t.out.len() > 0 || t.sentFIN && !t.ackedFIN }

// resends reports whether the socket sends something again until it is answered.
func (t *streamSocket) resends() bool {
	return t.state == streamConnecting || t.state == streamOpen && t.outstanding()
}

// armLocked schedules the event, if there is something to wait for.
func (t *streamSocket) armLocked() {
	if t.unix {
		return
	}
	if waiting := t.state == streamOpen && t.outstanding(); waiting != t.timers.waiting {
		t.timers.waiting = waiting
		t.timers.progress = t.net().nowLocked()
	}
	e := &t.timers.event
	if at := t.deadlineLocked(); at != never && (e.index == noIndex || at < t.net().events[e.index].at) {
		t.net().scheduleLocked(e, at)
	}
}

func (t *streamSocket) userTimeout() int64 {
	return int64(t.s.options.userTimeout) * int64(time.Millisecond)
}

// deadlineLocked returns when the timer has something to do.
func (t *streamSocket) deadlineLocked() int64 {
	o, k := &t.s.options, &t.timers
	user := t.userTimeout()
	switch {
	case t.state == streamConnecting:
		if user > 0 {
			return k.began + min(user, int64(connectTimeout))
		}
		return k.began + int64(connectTimeout)
	case t.state != streamOpen:
		return never
	case k.waiting && user > 0:
		return k.progress + user
	case k.waiting:
		return k.progress + int64(resendTimeout)
	case !o.keepAlive:
		return never
	case k.probes == 0:
		return k.heard + int64(o.keepIdle)*int64(time.Second)
	}
	return k.probed + int64(o.keepInterval)*int64(time.Second)
}

// timerLocked is the event.
func (t *streamSocket) timerLocked() {
	now := t.net().nowLocked()
	k := &t.timers
	if t.isOver() {
		return
	}
	if at := t.deadlineLocked(); at > now {
		t.armLocked()
		return
	}
	switch {
	case t.state == streamConnecting:
		t.failLocked(syscall.ETIMEDOUT)
	case k.waiting && t.userTimeout() == 0 && t.out.len() > 0 && t.sent == t.out.begin && k.probes == 0:
		// The window is closed, which is legal as long as the peer answers.
		t.probeLocked(now)
		k.progress = now
	case k.waiting, k.probes >= t.s.options.keepCount:
		t.failLocked(syscall.ETIMEDOUT)
	default:
		t.probeLocked(now)
	}
	t.armLocked()
}

func (t *streamSocket) probeLocked(now int64) {
	t.timers.probes++
	t.timers.probed = now
	t.sendPacketLocked(probePacket)
}

// optionLocked is called after an option was set.
func (t *streamSocket) optionLocked(int, int) {
	if t.unix || t.state == streamListening {
		return
	}
	t.timers.heard = max(t.timers.heard, t.net().nowLocked())
	t.net().cancelLocked(&t.timers.event)
	if t.state != streamIdle && t.state != streamOver {
		if at := t.deadlineLocked(); at != never {
			t.net().scheduleLocked(&t.timers.event, at)
		}
	}
}
