package driver

import (
	"iter"

	"github.com/pollux-io/pollux"
)

// A Table gives what a driver keeps an index, used again when its owner has gone, and a
// generation, which tells one owner of an index from the next: events of one batch may be
// about what an earlier one of the batch has ended, and its index given away.
type Table[T any] struct {
	all        Pages[*T]
	free       []uint32
	generation uint32
}

// MaxGeneration is the last generation; the first comes after it.
const MaxGeneration = 1<<29 - 1

// Add puts x in, whose State is s.
func (t *Table[T]) Add(x *T, s *State) {
	t.generation = (t.generation + 1) & MaxGeneration
	s.Generation = t.generation
	if n := len(t.free); n > 0 {
		s.Index = t.free[n-1]
		t.free = t.free[:n-1]
		*t.all.At(s.Index) = x
		return
	}
	s.Index = t.all.Append(x)
}

// Remove takes out what has the State s.
func (t *Table[T]) Remove(s *State) {
	*t.all.At(s.Index) = nil
	t.free = append(t.free, s.Index)
}

// At returns what has the index now; nil if nothing has.
func (t *Table[T]) At(index uint32) *T { return *t.all.At(index) }

// All yields what there is, and its index.
func (t *Table[T]) All() iter.Seq2[uint32, *T] {
	return func(yield func(uint32, *T) bool) {
		for i := uint32(0); i < t.all.Len(); i++ {
			if x := *t.all.At(i); x != nil && !yield(i, x) {
				return
			}
		}
	}
}

// StartAt makes the next generation come after g; tests have it wrap.
func (t *Table[T]) StartAt(g uint32) { t.generation = g }

// Token makes the token of a source: what kind it is, from 0 to 7, and its place in the
// table of that kind.
func Token(kind int, generation, index uint32) pollux.Token {
	return pollux.Token(uint64(kind)<<61 | uint64(generation)<<32 | uint64(index))
}

// SplitToken is the reverse of Token.
func SplitToken(t pollux.Token) (kind int, generation, index uint32) {
	return int(t >> 61), uint32(t>>32) & MaxGeneration, uint32(t)
}
