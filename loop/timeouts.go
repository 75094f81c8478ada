package loop

import (
	"time"

	"github.com/pollux-io/pollux/internal/wheel"
)

// idleTimer is the timer of an idle timeout, of d. Its owner sets lastActive whenever there is
// activity: that is cheap, and the timer is moved only when it fires. It belongs to the loop, and
// all times are on the loop's clock.
type idleTimer struct {
	timer      wheel.Timer // the owner sets Fire, which must call expired
	lastActive int64
}

// start begins the timeout, or begins it anew.
func (t *idleTimer) start(w *wheel.Wheel, now int64, d time.Duration) {
	t.lastActive = now
	w.Start(&t.timer, later(now, d))
}

// expired must be called when the timer has fired. It reports whether d has passed without
// activity; otherwise it moves the timer.
func (t *idleTimer) expired(w *wheel.Wheel, now int64, d time.Duration) bool {
	end := later(t.lastActive, d)
	if end > now {
		w.Start(&t.timer, end)
		return false
	}
	return true
}

// unreadSample detects that a peer sends while nothing is read, by the number of bytes in the
// kernel's receive buffer. The zero unreadSample has no sample to compare with.
type unreadSample struct {
	bytes int
	taken bool // bytes is a sample
}

// grown takes a sample, and reports whether there are more bytes than at the last one. Without
// one it returns true; where the system cannot report the number (known is false), false.
func (s *unreadSample) grown(bytes int, known bool) bool {
	grown := !s.taken || known && bytes > s.bytes
	s.bytes, s.taken = bytes, true
	return grown
}

// readGrace is the least time between the resumption of reading and the read deadline: what the
// peer has sent in the meantime must be read first, and may move the deadline.
const readGrace = 100 * time.Millisecond

// readTimer is a read deadline. While it is suspended, it stands still. It belongs to the loop,
// and all times are on the loop's clock.
type readTimer struct {
	timer wheel.Timer // the owner sets Fire
	at    int64       // the deadline; 0: none; if negative, it is suspended, and this much is left
}

// set sets the deadline, which must be positive, or removes it, if it is 0.
func (t *readTimer) set(w *wheel.Wheel, at int64) {
	t.at = at
	if at == 0 {
		w.Stop(&t.timer)
		return
	}
	w.Start(&t.timer, at)
}

// suspend stops the time until resume.
func (t *readTimer) suspend(w *wheel.Wheel, now int64) {
	if t.at > 0 {
		w.Stop(&t.timer)
		t.at = -max(t.at-now, int64(readGrace))
	}
}

// resume undoes suspend: the deadline moves by the time for which it was suspended, and comes
// after readGrace at the earliest.
func (t *readTimer) resume(w *wheel.Wheel, now int64) {
	if t.at < 0 {
		t.set(w, later(now, time.Duration(-t.at)))
	}
}
