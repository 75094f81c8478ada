package loop

// A member is a connection as a Fanout has it.
type member struct {
	c    *Conn
	part *fanoutPart

	// Guarded by the Fanout's mu.
	index int    // in part.members
	from  uint64 // number of the first message that it gets, in its part

	// Guarded by the connection's mu. Members of one connection are a list, which begins at
	// extras.memberships.
	left       bool // not in the list any more: nothing may be written
	next, prev *member
}

// Locks: a Fanout's mu may be held when a connection's is acquired, and not the other way round. A
// connection's mu decides, as it is held while messages are written, whether Remove came before. So
// everything that ends a membership first sets left.

// add returns why c cannot be written to, or nil.
func (f *Fanout) add(c *Conn) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.partLocked(c.loop)
	if _, ok := p.byConn[c]; ok {
		return nil
	}
	m := &member{c: c, part: p, index: len(p.members), from: p.taken}
	c.mu.Lock()
	var err error
	if !c.acceptsWritesLocked() {
		err = c.writeErrorLocked()
	} else {
		x := c.makeExtrasLocked()
		if m.next = x.memberships; m.next != nil {
			m.next.prev = m
		}
		x.memberships = m
	}
	c.mu.Unlock()
	if err != nil {
		p.removeIfUnusedLocked()
		return err
	}
	p.members, p.byConn[c] = append(p.members, m), m
	f.members++
	return nil
}

// remove reports whether c was a member.
func (f *Fanout) remove(c *Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.parts {
		if m := p.byConn[c]; m != nil {
			m.leave()
			p.removeLocked(m)
			return true
		}
	}
	return false
}

// leave takes the member out of its connection's list.
func (m *member) leave() {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	if m.left {
		return
	}
	m.left = true
	if m.prev == nil {
		m.c.extras.memberships = m.next
	} else {
		m.prev.next = m.next
	}
	if m.next != nil {
		m.next.prev = m.prev
	}
}

// leaveFanouts ends all memberships of a connection that cannot be written to any more. c.mu must
// not be held.
func (c *Conn) leaveFanouts() {
	c.mu.Lock()
	if c.extras == nil || c.extras.memberships == nil {
		c.mu.Unlock()
		return
	}
	first := c.extras.memberships
	c.extras.memberships = nil
	for m := first; m != nil; m = m.next {
		m.left = true
	}
	c.mu.Unlock()
	for m := first; m != nil; m = m.next { // the list does not change any more
		m.part.remove(m)
	}
}

// partLocked returns the part of a loop. f.mu must be held.
func (f *Fanout) partLocked(l *Loop) *fanoutPart {
	for _, p := range f.parts {
		if p.l == l {
			return p
		}
	}
	p := newFanoutPart(f, l)
	f.parts = append(f.parts, p)
	return p
}

// remove removes a member that has left, unless it was removed before.
func (p *fanoutPart) remove(m *member) {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	if p.byConn[m.c] == m {
		p.removeLocked(m)
	}
}

// removeLocked removes a member. Those before p.visited have got the batch, and stay before it; those
// behind stay behind. f.mu must be held.
func (p *fanoutPart) removeLocked(m *member) {
	free := m.index
	if free < p.visited {
		p.visited--
		free = p.moveLocked(p.visited, free)
	}
	last := p.moveLocked(len(p.members)-1, free)
	p.members[last] = nil
	p.members = p.members[:last]
	delete(p.byConn, m.c)
	p.f.members--
	p.removeIfUnusedLocked()
}

// moveLocked moves the member at one place to another, whose member is not needed any more, and
// returns the place that is free now.
func (p *fanoutPart) moveLocked(from, to int) int {
	if from != to { // the place may still have a member that has been moved
		p.members[to] = p.members[from]
		p.members[to].index = to
	}
	return from
}
