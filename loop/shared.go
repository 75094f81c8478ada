package loop

import (
	"fmt"
	"sync/atomic"

	"github.com/pollux-io/pollux/internal/sendqueue"
)

// Shared is a message for many connections: they refer to the same memory until they have sent
// it, so N slow connections hold one copy of it. Give it to Conn.WriteShared or Fanout.Send, any
// number of times, from any goroutine.
type Shared struct {
	memory   sendqueue.Shared
	released atomic.Bool // Release was called
}

// NewShared returns a Shared of b, which must not change any more. The garbage collector frees it.
func NewShared(b []byte) *Shared {
	s := &Shared{}
	s.memory.Init(b, nil)
	return s
}

// NewSharedFunc is NewShared for memory that is used again, such as that of a pool: freed is
// called, once, when the creator has called Release and every connection has sent or dropped its
// part; b must not change before. freed runs on a loop, or in the call of Release, WriteShared or
// Fanout.Send that has dropped the last reference: it must be short, and must not block.
// NewSharedFunc panics if freed is nil.
func NewSharedFunc(b []byte, freed func()) *Shared {
	if freed == nil {
		panic("loop: NewSharedFunc called with a nil function")
	}
	s := &Shared{}
	s.memory.Init(b, freed)
	return s
}

// Bytes returns the bytes, which must not be changed.
func (s *Shared) Bytes() []byte { return s.memory.Bytes() }

// Len returns the number of bytes.
func (s *Shared) Len() int { return len(s.memory.Bytes()) }

// Release drops the creator's reference of a NewSharedFunc: afterwards WriteShared and Send return
// ErrBadArgument for s, and what was written before is still sent. For a NewShared, Release has no
// effect. A second call panics.
func (s *Shared) Release() {
	if s.memory.Freed() == nil {
		return
	}
	if s.released.Swap(true) {
		panic("loop: Release called twice on one Shared")
	}
	s.drop()
}

// retain adds a reference. It returns false after Release.
func (s *Shared) retain() bool { return !s.released.Load() && s.memory.Retain() }

// drop releases a reference, and calls freed if that was the last. No lock may be held.
func (s *Shared) drop() {
	if s.memory.Release() {
		s.memory.Freed()()
	}
}

// dropOnLoop is drop for a loop, which recovers a panic of freed.
func (s *Shared) dropOnLoop(l *Loop) {
	if s.memory.Release() {
		l.call(workFreed, s.memory.Freed(), s.memory.Freed())
	}
}

// errReleased is the error for a Shared whose memory may soon be in use for something else.
var errReleased = fmt.Errorf("%w: Release of the Shared was called; write it before that", ErrBadArgument)

// WriteShared is Write without a copy, of a message that other connections may send too. Short
// messages may be copied, where that is cheaper. The error wraps ErrBadArgument if s is nil, or
// Release was called; otherwise it is as for Write.
func (c *Conn) WriteShared(s *Shared) (int, error) {
	if s == nil {
		return 0, c.opError("write", errNil("a Shared"))
	}
	if !s.retain() {
		return 0, c.opError("write", errReleased)
	}
	b := s.memory.Bytes()
	c.mu.Lock()
	if err := c.admitWriteLocked(len(b)); err != nil {
		c.mu.Unlock()
		s.drop()
		return 0, c.opError("write", err)
	}
	if len(b) <= maxStagedShared && c.out == nil && c.inCallback() && c.writeStagedLocked(b) {
		c.watermark.sentImmediately(c.unsentLocked())
		c.mu.Unlock()
		s.drop()
		return len(b), nil
	}
	c.unstageLocked()
	kept := len(b) > 0 && c.makeQueueLocked().AppendShared(&s.memory, b)
	c.submitAndUnlock(wantFlush)
	if !kept {
		s.drop()
	}
	return len(b), nil
}

// maxStagedShared is the size up to which a callback's WriteShared copies: then it leaves with
// what else the callback writes, in one piece.
const maxStagedShared = 512
