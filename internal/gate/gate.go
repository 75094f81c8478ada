// Package gate implements the close protocol that queues and descriptors share.
//
// A Gate is one atomic word: a closed bit and two counts of users, one for
// each class. Enter increments a count unless the bit is set; Close sets the
// bit; after that, the call that brings a count to zero learns it from its result,
// exactly once. The idea is that of internal/poll's fdMutex: no user takes a lock or
// waits for another, and the last user releases the resource.
//
// A Gate neither wakes users nor releases anything: its owner does, after Close, and it may
// count itself as a user for as long as that needs the resource, as a queue does while it
// wakes its waiters.
//
// docs/model/close.pml models the protocol; .ci/run checks the model
// exhaustively.
package gate

import "sync/atomic"

// Class is the class in which a user is counted. Its value is the bit at which the
// class's count begins in the word.
type Class uint8

const (
	// Long is for users that may stay for any time, such as a Wait.
	Long Class = 0
	// Short is for users that leave soon without being woken, such as a Register.
	Short Class = classBits
)

const (
	closed    = 1 << 63
	classBits = 31
	classMask = 1<<classBits - 1
	allMask   = 1<<(2*classBits) - 1
)

// MaxUsers is the maximum number of concurrent users of one class. A goroutine needs at
// least 2 KiB, so a program runs out of memory first.
const MaxUsers = classMask

// Reached reports which points of the shutdown a call of Leave or Close has reached. Each
// point is reported to exactly one caller, and not before Close.
type Reached struct {
	// Sealed: the last Short user has left and no other can enter.
	Sealed bool
	// Empty: the last user of either class has left and no other can enter.
	Empty bool
}

// A Gate is the closed bit and the two counts. The zero Gate is open. It must not be
// copied after first use.
type Gate struct{ word atomic.Uint64 }

// Enter adds the caller to class c, or returns false if the gate is closed. It panics if
// the class already has MaxUsers users: one more would overflow into the other count.
func (g *Gate) Enter(c Class) bool {
	for {
		old := g.word.Load()
		if old&closed != 0 {
			return false
		}
		if old>>c&classMask == MaxUsers {
			panic("gate: too many concurrent users of one resource")
		}
		if g.word.CompareAndSwap(old, old+1<<c) {
			return true
		}
	}
}

// Leave removes the caller from class c. It must be called once for each Enter that
// returned true. A Leave without an Enter panics: it would borrow from the other count or
// from the closed bit, and release a resource that is in use.
func (g *Gate) Leave(c Class) Reached {
	now := g.word.Add(-(uint64(1) << c))
	if now>>c&classMask == classMask {
		// The count was 0: a Leave never decrements a count to MaxUsers.
		g.word.Add(uint64(1) << c)
		panic("gate: Leave without Enter")
	}
	if now&closed == 0 {
		return Reached{}
	}
	return reached(now, c == Short)
}

func reached(word uint64, short bool) Reached {
	return Reached{
		Sealed: short && word>>Short&classMask == 0,
		Empty:  word&allMask == 0,
	}
}

// Close makes every later Enter return false. first is false if the gate was already
// closed; then p is zero.
func (g *Gate) Close() (first bool, p Reached) {
	old := g.word.Or(closed)
	if old&closed != 0 {
		return false, Reached{}
	}
	return true, reached(old, true)
}

// CloseIfEmpty is Close if the gate is open and has no users: then it has reached both points. It
// returns false, and changes nothing, otherwise.
func (g *Gate) CloseIfEmpty() bool { return g.word.CompareAndSwap(0, closed) }

// Closed reports whether Close has been called.
func (g *Gate) Closed() bool { return g.word.Load()&closed != 0 }
