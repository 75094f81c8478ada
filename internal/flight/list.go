package flight

// The list of a flight's waiters. A waiter that is removed keeps no pointer to others, so that a
// caller who keeps it keeps only its flight.

func (f *Flight[K, V]) pushLocked(w *Waiter[K, V]) {
	w.waiting, w.older = true, f.newest
	if f.newest == nil {
		f.oldest = w
	} else {
		f.newest.newer = w
	}
	f.newest = w
	f.group.waiters++
}

func (f *Flight[K, V]) removeLocked(w *Waiter[K, V]) {
	if w.older == nil {
		f.oldest = w.newer
	} else {
		w.older.newer = w.newer
	}
	if w.newer == nil {
		f.newest = w.older
	} else {
		w.newer.older = w.older
	}
	w.waiting, w.older, w.newer = false, nil, nil
	f.group.waiters--
}

// pop removes and returns the oldest waiter, or nil.
func (f *Flight[K, V]) pop() *Waiter[K, V] {
	f.group.mu.Lock()
	defer f.group.mu.Unlock()
	w := f.oldest
	if w != nil {
		f.removeLocked(w)
	}
	return w
}
