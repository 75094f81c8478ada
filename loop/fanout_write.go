package loop

// How a batch gets from a Fanout to the socket of one member.

// memberEnd is why write has not written all messages.
type memberEnd uint8

const (
	memberHasAll memberEnd = iota
	memberIsSlow
	memberLeaves // it cannot be written to
	memberSends  // it is not known yet whether it is slow: a send has yet to be tried or reported
)

// write writes messages to the member, in order, until it is slow, or sends. It returns how many.
func (m *member) write(messages []*Shared) (n int, end memberEnd) {
	for {
		var more int
		more, end = m.writeSome(messages[n:])
		n += more
		if end != memberHasAll || n == len(messages) {
			return n, end
		}
	}
}

// writeSome writes as many messages as fit. memberHasAll means that more fit if there are more.
func (m *member) writeSome(messages []*Shared) (n int, _ memberEnd) {
	c := m.c
	c.mu.Lock()
	if m.left || !c.acceptsWritesLocked() {
		c.mu.Unlock()
		return 0, memberLeaves
	}
	idle := c.out == nil // nothing is unsent
	var f flushResult
	if c.out == nil && c.flags&sendPending == 0 && c.driver().SyncSend() {
		n, f = len(messages), c.sendSharedLocked(messages)
	} else {
		n = c.queueSharedLocked(messages, m.part.limit)
		f = c.flushLocked()
	}
	c.mu.Unlock()
	c.afterFlush(f)
	switch {
	case n == len(messages):
		return n, memberHasAll
	case c.phase != open: // sending has failed
		return n, memberLeaves
	case f.again || c.flags&sendPending != 0 && !c.driver().SendBlocked(&c.stream):
		return n, memberSends
	case f.unsent == 0 && (n > 0 || !idle):
		return n, memberHasAll // that fit: there is space again
	}
	return n, memberIsSlow
}

// sendSharedLocked sends messages without a queue, and queues what the kernel does not take. c.mu
// must be held; nothing may be queued, and the driver must have SyncSend.
func (c *Conn) sendSharedLocked(messages []*Shared) flushResult {
	bufs, total := c.loop.iov[:0], 0
	for _, s := range messages {
		bufs, total = append(bufs, s.Bytes()), total+s.Len()
	}
	n, err := c.sendLocked(bufs, total)
	clear(bufs)
	if err != nil {
		return flushResult{err: err}
	}
	if n < total {
		// A part is sent, so the rest cannot be refused: it is below the limit of unsent bytes.
		c.admitWriteLocked(total - n)
		c.queueRestLocked(messages, n)
	}
	return c.flushResultLocked()
}

// queueRestLocked queues messages without the first n bytes. c.mu must be held.
func (c *Conn) queueRestLocked(messages []*Shared, n int) {
	for _, s := range messages {
		b := s.Bytes()
		skip := min(n, len(b))
		n -= skip
		if b = b[skip:]; len(b) > 0 {
			c.appendSharedLocked(s, b)
		}
	}
}

// queueSharedLocked queues messages until limit bytes would be exceeded, and returns how many. c.mu
// must be held.
func (c *Conn) queueSharedLocked(messages []*Shared, limit int) int {
	for i, s := range messages {
		if c.unsentLocked() > limit-s.Len() || c.admitWriteLocked(s.Len()) != nil {
			return i
		}
		c.appendSharedLocked(s, s.Bytes())
	}
	return len(messages)
}

// appendSharedLocked queues b, the end of a message to which the caller has a reference. c.mu must
// be held.
func (c *Conn) appendSharedLocked(s *Shared, b []byte) {
	s.memory.Add(1)
	if !c.makeQueueLocked().AppendShared(&s.memory, b) {
		s.memory.Release() // it is not the last one
	}
}
