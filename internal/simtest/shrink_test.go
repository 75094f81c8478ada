package simtest

import "slices"

// maxShrinkRuns is how many runs shrinking makes at most.
const maxShrinkRuns = 2000

// shrink removes parts from a failing program, and simplifies others, as long as fails returns true. It
// tries the largest parts first (delta debugging), and returns the simplest program that fails, and how
// often it has called fails.
func shrink(p *program, fails func(*program) bool) (*program, int) {
	s := &shrinker{program: p, fails: fails}
	for s.changed = true; s.changed && s.runs < maxShrinkRuns; {
		s.changed = false
		s.removeConns()
		s.removeSteps()
		s.simplifySettings()
		s.simplifySteps()
	}
	return s.program, s.runs
}

type shrinker struct {
	*program // the simplest so far that fails
	fails    func(*program) bool
	runs     int
	changed  bool // in this round
}

// try changes a copy of the program, and keeps it if it is another one and fails, too.
func (s *shrinker) try(change func(q *program)) bool {
	if s.runs == maxShrinkRuns {
		return false
	}
	q := *s.program
	q.conns, q.steps = slices.Clone(q.conns), slices.Clone(q.steps)
	change(&q)
	if q.equal(s.program) {
		return false
	}
	s.runs++
	if !s.fails(&q) {
		return false
	}
	s.program, s.changed = &q, true
	return true
}

func (p *program) equal(q *program) bool {
	return p.network == q.network && p.setting == q.setting && slices.Equal(p.conns, q.conns) && slices.Equal(p.steps, q.steps)
}

// usedConns returns the indexes of the connections that have steps.
func (p *program) usedConns() (used []int) {
	for _, s := range p.steps {
		if s.conn != noConn && !slices.Contains(used, s.conn) {
			used = append(used, s.conn)
		}
	}
	return used
}

func (s *shrinker) removeConns() {
	used := s.usedConns()
	for size := len(used); size > 0; size /= 2 {
		for part := range slices.Chunk(used, size) {
			s.try(func(q *program) {
				q.steps = slices.DeleteFunc(q.steps, func(x step) bool { return slices.Contains(part, x.conn) })
			})
		}
	}
}

func (s *shrinker) removeSteps() {
	for size := (len(s.steps) + 1) / 2; size > 0; size /= 2 {
		for at := 0; at < len(s.steps); {
			if !s.try(func(q *program) { q.steps = slices.Delete(q.steps, at, min(at+size, len(q.steps))) }) {
				at += size
			}
		}
	}
}

func (s *shrinker) simplifySettings() {
	conns := func(change func(c *connection)) func(*program) {
		return func(q *program) {
			for i := range q.conns {
				change(&q.conns[i])
			}
		}
	}
	simplest := network{peerHosts: 1}
	for _, change := range []func(q *program){
		func(q *program) { q.network.link = simplest.link },
		func(q *program) { q.network.faults = simplest.faults },
		func(q *program) { q.network.adversity = 0 },
		func(q *program) { q.network.link.BytesPerSecond = 0 },
		func(q *program) { q.network.link.SegmentBytes, q.network.link.RandomSegments = 0, false },
		func(q *program) { q.network.link.Jitter = 0 },
		func(q *program) { q.network.link.Loss, q.network.link.Duplicate, q.network.link.Reorder = 0, 0, 0 },
		func(q *program) { q.network.faults.Resets = 0 },
		func(q *program) { q.network.faults.WouldBlock = 0 },
		func(q *program) { q.network.faults.PartialReads, q.network.faults.PartialWrites = 0, 0 },
		func(q *program) { q.setting.loops = 1 },
		func(q *program) { q.setting.maxConns = 0 },
		func(q *program) { q.setting.linger = noLinger },
		func(q *program) { q.setting.readBudget = 256 << 10 },
		func(q *program) { q.setting.maxUnread = 1 << 20 },
		conns(func(c *connection) { c.small = false }),
		conns(func(c *connection) { c.network = "tcp" }),
		conns(func(c *connection) { c.noReadClosed = [2]bool{} }),
		conns(func(c *connection) { c.closeOnShutdown = [2]bool{} }),
		func(q *program) {
			q.setting.groups = 1
			conns(func(c *connection) { c.group = 0 })(q)
		},
		func(q *program) {
			q.network.peerHosts = simplest.peerHosts
			conns(func(c *connection) { c.peerHost = 0 })(q)
		},
	} {
		s.try(change)
	}
}

func (s *shrinker) simplifySteps() {
	for at := range s.steps {
		if x := s.steps[at]; x.op != opPanic && x.op != opDataError {
			s.try(func(q *program) { q.steps[at].from = fromScript })
		}
		s.try(func(q *program) { q.steps[at].after = 0 })
		for s.steps[at].n > 1 && s.try(func(q *program) { q.steps[at].n /= 2 }) {
		}
	}
}
