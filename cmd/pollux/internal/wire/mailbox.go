package wire

import "sync"

// A mailbox queues functions that other goroutines post to the loop.
type mailbox struct {
	mu     sync.Mutex
	in     []func()
	spare  []func()
	closed bool
}

// put queues f, and reports whether the loop must be woken.
func (m *mailbox) put(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.in = append(m.in, f)
	return true
}

// run calls the queued functions; those that are put meanwhile wait for the next turn.
func (m *mailbox) run() {
	m.mu.Lock()
	batch := m.in
	m.in, m.spare = m.spare, nil
	m.mu.Unlock()
	for i, f := range batch {
		batch[i] = nil
		f()
	}
	m.mu.Lock()
	m.spare = batch[:0]
	m.mu.Unlock()
}

func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.in = nil
}
