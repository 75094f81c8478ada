package afd

import (
	"sync"
	"sync/atomic"
)

// The lists that a registration can be in.
const (
	againList  = iota // level, reported; or its poll could not be started: for the next Wait to start
	guardList         // edge, all reported: to be guarded before a Wait sleeps
	landedList        // completed, and taken from the port by collect: to be reported
	listCount
)

type link struct {
	next   *socket
	listed bool
}

// A list is a stack of registrations, each in it once. Its lock comes after the
// socket's.
type list struct {
	which int
	mu    sync.Mutex
	head  *socket
	count atomic.Int32
}

// push adds k, which is locked.
func (l *list) push(k *socket) {
	entry := &k.links[l.which]
	if entry.listed {
		return
	}
	entry.listed = true
	l.mu.Lock()
	defer l.mu.Unlock()
	entry.next, l.head = l.head, k
	l.count.Add(1)
}

// pop takes one out, and locks it; nil if there is none.
func (l *list) pop() *socket {
	if l.count.Load() == 0 {
		return nil
	}
	l.mu.Lock()
	k := l.head
	if k != nil {
		l.head = k.links[l.which].next
		l.count.Add(-1)
	}
	l.mu.Unlock()
	if k != nil {
		k.mu.Lock()
		k.links[l.which] = link{}
	}
	return k
}

// flush restarts what is in the list now.
func (s *Selector) flush(l *list) {
	if l.count.Load() == 0 {
		return
	}
	l.mu.Lock()
	k := l.head
	l.head = nil
	l.count.Store(0) // all changes of count are made under the lock
	l.mu.Unlock()
	for k != nil {
		k.mu.Lock()
		next := k.links[l.which].next
		k.links[l.which] = link{}
		if !k.deleted {
			s.restart(k, l.which == guardList)
		}
		k.mu.Unlock()
		k = next
	}
}
