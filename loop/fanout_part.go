package loop

import (
	"slices"

	"github.com/pollux-io/pollux/internal/driver"
)

// fanoutPart is the part of a Fanout that belongs to one loop: the members there, and the messages
// that the loop has not written to all of them.
//
// The loop takes the pending messages in batches, and writes each batch to one member after the
// other, as a task: at most one request of the loop's inbox serves all messages that come until
// then. Only after the last member it takes the next batch: so no member gets messages out of order,
// although the task may stop after each of them.
type fanoutPart struct {
	f     *Fanout
	l     *Loop
	limit int    // of unsent bytes, for each member
	begun func() // the op: it adds the task

	// Guarded by f.mu.
	members         []*member
	byConn          map[*Conn]*member
	visited         int           // members before it have got the batch, or are in next or sending
	pending         fifo[*Shared] // each with a reference
	taken           uint64        // number of messages that Send has taken
	unfinished      int           // messages pending, and in the batch
	unfinishedBytes int
	active          bool // the op is in the inbox, or the part is a task

	// Accessed by the loop only.
	batch      []*Shared // being written; empty between two passes
	batchBytes int
	joined     *joined   // the batch in one piece, or nil
	first      uint64    // number of the batch's first message
	released   int       // messages of the batch whose reference was released, when all have it
	next       []*member // members that are next, copied while f.mu was held
	sending    []*member // members that get the rest of the batch once their sends are reported
	waits      int       // turns that the batch has waited for them
	deliveries uint64    // since they were last added to f.deliveries
	slowConn   *Conn     // arguments of f.config.Slow
	slowShared *Shared
	callSlow   func()
}

var _ task = (*fanoutPart)(nil)

// membersAtOnce is how many members are copied each time that f.mu is acquired.
const membersAtOnce = 32

func newFanoutPart(f *Fanout, l *Loop) *fanoutPart {
	p := &fanoutPart{f: f, l: l, limit: l.g.config.MaxUnsentBytes, byConn: map[*Conn]*member{}}
	if n := f.config.MaxUnsentBytes; n > 0 {
		p.limit = min(p.limit, n)
	}
	p.begun = func() { l.addTask(p) }
	p.callSlow = func() { f.config.Slow(p.slowConn, p.slowShared) }
	return p
}

// removeIfUnusedLocked removes the part from its Fanout when it has no members and is not a task:
// so a Fanout does not keep the memory of loops that have ended. f.mu must be held.
func (p *fanoutPart) removeIfUnusedLocked() {
	if len(p.members) == 0 && !p.active {
		p.f.parts = slices.DeleteFunc(p.f.parts, func(q *fanoutPart) bool { return q == p })
	}
}

// trySend is Send.
func (f *Fanout) trySend(s *Shared) error {
	switch {
	case s == nil:
		return errNil("a Shared")
	case !s.retain():
		return errReleased
	}
	defer s.drop()
	if s.Len() == 0 {
		return nil
	}
	var space [32]*fanoutPart
	wake, err := f.enqueue(s, space[:0])
	if err != nil {
		return err
	}
	for _, p := range wake {
		if !p.l.put(op{f: p.begun}) {
			p.abandon()
		}
	}
	return nil
}

// enqueue makes s pending in each part, or in none. It appends the parts that are to become tasks to
// wake.
func (f *Fanout) enqueue(s *Shared, wake []*fanoutPart) ([]*fanoutPart, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.parts {
		if err := p.admitLocked(s.Len()); err != nil {
			return nil, err
		}
	}
	f.messages++
	for _, p := range f.parts {
		if len(p.members) == 0 {
			continue
		}
		s.memory.Add(1)
		p.pending.push(s)
		p.taken++
		p.unfinished++
		p.unfinishedBytes += s.Len()
		if !p.active {
			p.active = true
			wake = append(wake, p)
		}
	}
	return wake, nil
}

// admitLocked returns an error if a message of n bytes cannot be pending. f.mu must be held.
func (p *fanoutPart) admitLocked(n int) error {
	c := &p.f.config
	switch {
	case len(p.members) == 0:
		return nil
	case n > p.limit || n > c.MaxPendingBytes:
		return errMessageTooLarge
	case p.unfinished >= c.MaxPendingMessages || p.unfinishedBytes > c.MaxPendingBytes-n:
		return errPendingFull
	}
	return nil
}

// abandon drops what is pending: the loop is about to end, and has no connections.
func (p *fanoutPart) abandon() {
	p.f.mu.Lock()
	var all []*Shared
	for !p.pending.empty() {
		all = append(all, p.pending.pop())
	}
	p.unfinished, p.unfinishedBytes, p.active = 0, 0, false
	p.removeIfUnusedLocked()
	p.f.mu.Unlock()
	for _, s := range all {
		s.drop()
	}
}

// maxWaits is how many turns a batch waits for sends that the driver has yet to try or to report; a
// member of which any are left then is slow. A driver needs a few turns for one, so only a member that is
// written to all the time by others, too, gets there: it must not keep the rest from the next batch.
const maxWaits = 64

// do implements task. A driver that sends between turns gets one batch in a turn: its members would only
// have to wait for the sends of the first.
func (p *fanoutPart) do(b *budget) bool {
	defer p.count()
	for batches := 0; ; batches++ {
		if len(p.batch) == 0 {
			if !p.beginBatch() {
				return true
			}
			if batches > 0 && !p.l.drv.SyncSend() {
				return false
			}
		}
		for {
			if b.over() {
				return false
			}
			m := p.nextMember()
			if m == nil {
				break
			}
			p.deliver(m)
		}
		if len(p.sending) > 0 {
			p.next, p.sending = p.sending, p.next // for the next turn
			p.waits++
			return false
		}
		p.finishBatch()
	}
}

// beginBatch takes the first pending messages: as many as a connection may send in a turn, and as a
// member with nothing unsent may have unsent. If there are none, the part stops being a task.
func (p *fanoutPart) beginBatch() bool {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	if p.pending.empty() {
		p.active = false
		p.removeIfUnusedLocked()
		return false
	}
	p.first = p.taken - uint64(p.unfinished)
	limit := min(p.limit, p.l.g.config.TurnBudgetBytes)
	for !p.pending.empty() && len(p.batch) < driver.MaxBuffers {
		n := p.pending.front().Len()
		if len(p.batch) > 0 && p.batchBytes > limit-n {
			break
		}
		p.batch, p.batchBytes = append(p.batch, p.pending.pop()), p.batchBytes+n
	}
	p.visited = 0
	p.joined = p.l.join(p.batch, p.batchBytes, len(p.members))
	return true
}

// finishBatch releases the messages of the batch.
func (p *fanoutPart) finishBatch() {
	if j := p.joined; j != nil {
		p.joined = nil
		j.shared.dropOnLoop(p.l)
	}
	for p.released < len(p.batch) { // a function of NewSharedFunc may end the goroutine
		s := p.batch[p.released]
		p.batch[p.released] = nil
		p.released++
		s.dropOnLoop(p.l)
	}
	p.count() // before the batch stops being pending
	p.f.mu.Lock()
	p.unfinished -= len(p.batch)
	p.unfinishedBytes -= p.batchBytes
	p.f.mu.Unlock()
	p.batch, p.batchBytes, p.released, p.waits = p.batch[:0], 0, 0, 0
}

// nextMember returns a member that has not got the batch, or nil after the last.
func (p *fanoutPart) nextMember() *member {
	if len(p.next) == 0 {
		p.f.mu.Lock()
		n := min(membersAtOnce, len(p.members)-p.visited)
		p.next = append(p.next, p.members[p.visited:p.visited+n]...)
		p.visited += n
		p.f.mu.Unlock()
		if n == 0 {
			return nil
		}
	}
	last := len(p.next) - 1
	m := p.next[last]
	p.next[last], p.next = nil, p.next[:last]
	return m
}

// deliver writes the batch to a member, from the first message that it is to get.
func (p *fanoutPart) deliver(m *member) {
	messages := p.batch
	if m.from > p.first {
		if m.from-p.first >= uint64(len(messages)) {
			return
		}
		messages = messages[m.from-p.first:]
	} else if p.joined != nil && p.deliverJoined(m) {
		return
	}
	for len(messages) > 0 {
		n, end := m.write(messages)
		p.deliveries += uint64(n)
		if messages = messages[n:]; end == memberLeaves {
			p.removeEnded(m)
			return
		}
		if end == memberSends && p.waits < maxWaits {
			p.wait(m, messages)
			return
		}
		if end != memberHasAll {
			p.slow(m.c, messages[0])
			messages = messages[1:]
		}
	}
}

// wait leaves messages, the end of the batch, to be delivered to a member in the next turn.
func (p *fanoutPart) wait(m *member, messages []*Shared) {
	p.f.mu.Lock()
	m.from = p.first + uint64(len(p.batch)-len(messages))
	p.f.mu.Unlock()
	p.sending = append(p.sending, m)
}

// deliverJoined writes the whole batch to a member. It returns false if that is too much for the member
// now.
func (p *fanoutPart) deliverJoined(m *member) bool {
	whole := [1]*Shared{&p.joined.shared}
	n, end := m.write(whole[:])
	switch end {
	case memberHasAll:
		p.deliveries += uint64(n * len(p.batch))
	case memberLeaves:
		p.removeEnded(m)
	default:
		return false
	}
	return true
}

// removeEnded removes a member that cannot be written to.
func (p *fanoutPart) removeEnded(m *member) {
	m.leave()
	p.remove(m)
}

// slow calls the policy for a message that c does not get.
func (p *fanoutPart) slow(c *Conn, s *Shared) {
	p.f.skipped.Add(1)
	p.slowConn, p.slowShared = c, s
	c.callback(p.callSlow)
	p.slowConn, p.slowShared = nil, nil
	p.l.taskTime.measure()
}

// count adds the deliveries to the Fanout's.
func (p *fanoutPart) count() {
	p.f.deliveries.Add(p.deliveries)
	p.deliveries = 0
}
