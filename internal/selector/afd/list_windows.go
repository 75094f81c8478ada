package afd

import (
	"sync"
	"sync/atomic"
)

// The lists that a registration can be in.
const (
	restartList = iota // level, reported; or its poll could not be started: the next Wait starts it
	guardList          // edge, all reported: gets a guard before a Wait sleeps
	landedList         // completed, and taken from the port by takeCompletions: to be reported
	listCount
)

type link struct {
	next   *socket
	listed bool
}

// A list is a stack of registrations, each in it at most once. Its lock is taken after
// the socket's.
type list struct {
	which int
	mu    sync.Mutex
	head  *socket
	count atomic.Int32
}

// push adds k, unless it is in the list. The caller must hold k.mu.
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

// pop removes a registration and returns it locked, or nil.
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

// restartAll empties the list and restarts the registrations that were in it.
func (s *Selector) restartAll(l *list) {
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
			s.restartLocked(k, l.which == guardList)
		}
		k.mu.Unlock()
		k = next
	}
}
