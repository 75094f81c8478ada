package sendqueue

import "sync/atomic"

// copiedBytes is the size up to which AppendShared copies a slice to a queue that is not empty. A
// chunk has 64 bytes itself, and each costs an iovec in every system call: a short slice is
// copied in less time, and needs no more memory (BenchmarkAppend).
const copiedBytes = 256

// A Shared is memory that many queues refer to, without a copy. It counts the references if a
// function is to be called after the last. All methods may be called from any goroutine.
type Shared struct {
	b     []byte
	freed func()
	refs  atomic.Int64 // if freed is not nil
}

// Init sets the bytes, which must not change while there are references, and the function that is
// due after the last one, or nil. There is one reference then, the caller's.
func (s *Shared) Init(b []byte, freed func()) {
	s.b, s.freed = b, freed
	s.refs.Store(1)
}

// Bytes returns the bytes.
func (s *Shared) Bytes() []byte { return s.b }

// Freed returns the function that is due after the last reference.
func (s *Shared) Freed() func() { return s.freed }

// Retain adds a reference. It returns false if the last one has been released.
func (s *Shared) Retain() bool {
	if s.freed == nil {
		return true
	}
	for {
		n := s.refs.Load()
		if n == 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Add adds n references. The caller must have one.
func (s *Shared) Add(n int) {
	if s.freed != nil && s.refs.Add(int64(n)) <= int64(n) {
		panic("sendqueue: a reference was added to memory that nothing refers to")
	}
}

// Release removes a reference. It reports whether that was the last one, and Freed's function is
// due.
func (s *Shared) Release() (due bool) {
	if s.freed == nil {
		return false
	}
	n := s.refs.Add(-1)
	if n < 0 {
		panic("sendqueue: memory was released more often than it was retained")
	}
	return n == 0
}

// AppendShared adds b, which is s.Bytes() or the end of it. If it returns true, the queue refers to s
// from now on, until b has been consumed or dropped, and has taken over one reference of the
// caller's. Otherwise it has copied b.
func (q *Queue) AppendShared(s *Shared, b []byte) bool {
	if len(b) == 0 || len(b) <= copiedBytes && !q.Empty() {
		q.Append(b)
		return false
	}
	q.bytes += len(b)
	q.push(chunk{b: b, shared: s})
	return true
}
