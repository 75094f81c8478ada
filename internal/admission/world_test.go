package admission

import (
	"slices"
	"testing"
	"time"
)

// A world simulates the loops and listening sockets of a group, the descriptors of its process, and
// a clock.
type world struct {
	*testing.T
	limits      Limits
	loops       []*fakeLoop
	sockets     []*fakeSocket
	descriptors int // free ones
	now         time.Duration
	accepted    []*fakeSocket // by whom, in order
}

// fakeLoop runs functions once a turn, unless it is in a callback.
type fakeLoop struct {
	ops        []func()
	inCallback bool
	ended      bool
}

// fakeSocket is a Host.
type fakeSocket struct {
	*world
	loop    *fakeLoop
	policy  *Acceptor
	backlog int
	open    int // its connections
	pending int
	refused int
	paused  bool
	retryAt time.Duration // 0: not requested
	failure bool          // the next accept fails, though no resource is exhausted
	onPause func()        // called once by PauseAccept
	ahead   int           // so many are accepted in one turn after a pause in it, as a completion driver may
}

// newWorld returns a world with a socket for each of backlogs, each on its own loop.
func newWorld(t *testing.T, limits *Limits, descriptors int, backlogs ...int) *world {
	w := &world{T: t, descriptors: descriptors}
	w.limits.MaxConns, w.limits.RefuseAbove = limits.MaxConns, limits.RefuseAbove
	for _, n := range backlogs {
		w.listen(w.newLoop(), n)
	}
	return w
}

func (w *world) newLoop() *fakeLoop {
	w.loops = append(w.loops, &fakeLoop{})
	return w.loops[len(w.loops)-1]
}

func (w *world) listen(l *fakeLoop, backlog int) *fakeSocket {
	s := &fakeSocket{world: w, loop: l, backlog: backlog}
	s.policy = NewAcceptor(&w.limits, s)
	w.sockets = append(w.sockets, s)
	return s
}

func (s *fakeSocket) checkOpen() {
	if s.policy.Closed() {
		s.Error("a closed socket's host was called")
	}
}

func (s *fakeSocket) PauseAccept() {
	s.checkOpen()
	s.paused = true
	if f := s.onPause; f != nil {
		s.onPause = nil
		f()
	}
}

func (s *fakeSocket) ResumeAccept() {
	s.checkOpen()
	if s.policy.paused() {
		s.Error("ResumeAccept was called while there is a reason to pause")
	}
	s.paused = false
}

func (s *fakeSocket) RetryAfter(d time.Duration) {
	s.checkOpen()
	if longest := max(maxBackoff, grantInterval); d < minBackoff || d > longest {
		s.Errorf("RetryAfter(%v), want %v to %v", d, minBackoff, longest)
	}
	s.retryAt = s.now + d
}

func (s *fakeSocket) Pending() int { return s.pending }

func (s *fakeSocket) AdmitPending() {
	s.checkOpen()
	if s.pending == 0 {
		s.Fatal("AdmitPending was called without a pending connection")
	}
	s.pending--
	s.admit()
}

func (s *fakeSocket) Put(f func()) bool {
	if !s.loop.ended {
		s.loop.ops = append(s.loop.ops, f)
	}
	return !s.loop.ended
}

func (s *fakeSocket) admit() {
	s.open++
	s.world.accepted = append(s.world.accepted, s)
	open := 0
	for _, s := range s.sockets {
		open += s.open
	}
	if most := s.limits.MaxConns; s.limits.Conns() != open || most > 0 && open > most {
		s.Errorf("Conns() = %d with %d connections open, want that number, and at most %d", s.limits.Conns(), open, most)
	}
}

// accept is the driver's part of a turn.
func (s *fakeSocket) accept() {
	if s.paused {
		return
	}
	for ahead := s.ahead; s.backlog > 0; {
		if s.paused {
			if ahead--; ahead < 0 || s.descriptors == 0 {
				return
			}
		}
		switch {
		case s.failure:
			s.failure, s.paused = false, true
			s.policy.Failed(false)
			return
		case s.descriptors == 0:
			s.paused = true
			s.policy.Failed(true)
			return
		}
		s.backlog--
		s.descriptors--
		v := s.policy.Accept()
		switch v {
		case Admit:
			s.admit()
		case Wait:
			s.pending++
		case Refuse:
			s.refused++
			s.descriptors++
		}
		s.policy.Accepted(v)
	}
}

// turn runs one turn of each loop.
func (w *world) turn() {
	for _, l := range w.loops {
		if l.inCallback || l.ended {
			continue
		}
		ops := l.ops
		l.ops = nil
		for _, f := range ops {
			f()
		}
		for _, s := range w.sockets {
			if s.loop != l || s.policy.Closed() {
				continue
			}
			s.accept()
			if s.retryAt != 0 && s.now >= s.retryAt {
				s.retryAt = 0
				s.policy.Retry()
			}
		}
	}
}

// idleTurns is more turns than a grant needs to get from the first socket to the last.
const idleTurns = 16

// settle runs turns without the clock advancing.
func (w *world) settle() {
	for range idleTurns {
		w.turn()
	}
}

// pass advances the clock by d, to each moment at which a retry is due.
func (w *world) pass(d time.Duration) {
	for end := w.now + d; ; {
		next := end
		for _, s := range w.sockets {
			if s.retryAt > w.now && !s.policy.Closed() {
				next = min(next, s.retryAt)
			}
		}
		w.now = next
		w.settle()
		if w.now == end {
			return
		}
	}
}

// hangUp ends one of the socket's connections.
func (s *fakeSocket) hangUp() {
	s.open--
	s.descriptors++
	s.limits.Release()
}

// close closes the socket; its connections stay open, and those that wait are reset.
func (s *fakeSocket) close() {
	if !s.policy.Close() || s.policy.Close() {
		s.Error("Close must report whether it is the first call")
	}
	s.descriptors += s.pending
	s.pending, s.backlog = 0, 0
}

// order returns the indices of the sockets that have accepted since the last call.
func (w *world) order() (by []int) {
	for _, s := range w.accepted {
		by = append(by, slices.Index(w.sockets, s))
	}
	w.accepted = nil
	return by
}

func (w *world) checkOrder(want ...int) {
	w.Helper()
	if got := w.order(); !slices.Equal(got, want) {
		w.Errorf("the sockets accepted in the order %v, want %v", got, want)
	}
}
