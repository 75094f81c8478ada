// Package gate holds the close protocol that queues and sockets share.
//
// A Gate is one atomic word: a closed bit and two counts of users, one for
// each class. Entering adds to a count unless the bit is set; Close sets the
// bit; whoever brings a count to zero after that is told so, exactly once. It
// is the idea of internal/poll's fdMutex: nobody locks, nobody spins for
// another, and the resource is released by its last user.
//
// docs/model/close.pml models the protocol; .ci/run checks the model
// exhaustively.
package gate

import "sync/atomic"

// Class says what a user is counted as: where its count begins in the word.
type Class uint8

const (
	// Long counts users that may stay for as long as they like: a Wait.
	Long Class = 0
	// Short counts users that leave by themselves soon: a Register.
	Short Class = classBits
)

const (
	closed    = 1 << 63
	classBits = 31
	classMask = 1<<classBits - 1
	allMask   = 1<<(2*classBits) - 1
)

// MaxUsers is how many users of one class a Gate counts at once. A goroutine
// needs 2 KiB at least, so memory ends first.
const MaxUsers = classMask

// Passed tells a leaver, or Close, which moments of the shutdown it has
// brought about. Each moment is told to exactly one caller, and only after
// Close.
type Passed struct {
	// Sealed: the last Short user has left and none can come.
	Sealed bool
	// Empty: the last user of either class has left and none can come.
	Empty bool
}

// Gate is open when zero. It must not be copied after its first use.
type Gate struct{ word atomic.Uint64 }

// Enter counts the caller in, or returns false if the gate is closed. It panics when the
// class has MaxUsers users already: one more would be counted as a user of the other.
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

// Leave counts the caller out. It must follow each Enter that returned true, once. A Leave
// without its Enter panics: it would borrow from the other count, or from the closed bit,
// and release a resource that is in use.
func (g *Gate) Leave(c Class) Passed {
	now := g.word.Add(-(uint64(1) << c))
	if now>>c&classMask == classMask {
		// It was 0: a count of MaxUsers is never reached by leaving.
		g.word.Add(uint64(1) << c)
		panic("gate: a user leaves who has not entered")
	}
	if now&closed == 0 {
		return Passed{}
	}
	return passed(now, c == Short)
}

func passed(word uint64, short bool) Passed {
	return Passed{
		Sealed: short && word>>Short&classMask == 0,
		Empty:  word&allMask == 0,
	}
}

// Close refuses newcomers from now on. first is false if the gate was closed
// before; nothing has passed then.
func (g *Gate) Close() (first bool, p Passed) {
	old := g.word.Or(closed)
	if old&closed != 0 {
		return false, Passed{}
	}
	return true, passed(old, true)
}

// Closed reports whether Close has been called.
func (g *Gate) Closed() bool { return g.word.Load()&closed != 0 }
