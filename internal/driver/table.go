package driver

import "iter"

// Slots keeps values, each at an index that is reused after Remove.
type Slots[T any] struct {
	all  Pages[T]
	free []uint32
}

// Add stores x, and returns its index.
func (t *Slots[T]) Add(x T) uint32 {
	if n := len(t.free); n > 0 {
		i := t.free[n-1]
		t.free = t.free[:n-1]
		*t.all.At(i) = x
		return i
	}
	return t.all.Append(x)
}

// Remove removes the value at the index i: it becomes zero.
func (t *Slots[T]) Remove(i uint32) {
	var zero T
	*t.all.At(i) = zero
	t.free = append(t.free, i)
}

// At returns a pointer to the value at the index i, which must be less than Len. It is zero if it
// was removed. The pointer stays valid.
func (t *Slots[T]) At(i uint32) *T { return t.all.At(i) }

// Len returns how many indexes there are, with those of removed values.
func (t *Slots[T]) Len() uint32 { return t.all.Len() }

// A Table gives each of a driver's objects an index, which is reused after Remove, and a
// generation, which distinguishes the successive objects with one index: an event may be
// about an object that an earlier event of its batch has removed, and whose index is reused.
type Table[T any] struct {
	slots      Slots[*T]
	generation uint32
}

// MaxGeneration is the last generation; after it they start again from 0.
const MaxGeneration = 1<<29 - 1

// Add adds x, whose State is s.
func (t *Table[T]) Add(x *T, s *State) {
	t.generation = (t.generation + 1) & MaxGeneration
	s.Generation = t.generation
	s.Index = t.slots.Add(x)
}

// Remove removes the object whose State is s.
func (t *Table[T]) Remove(s *State) { t.slots.Remove(s.Index) }

// At returns the object that has the index now, or nil.
func (t *Table[T]) At(index uint32) *T { return *t.slots.At(index) }

// All yields all objects with their indexes.
func (t *Table[T]) All() iter.Seq2[uint32, *T] {
	return func(yield func(uint32, *T) bool) {
		for i := uint32(0); i < t.slots.Len(); i++ {
			if x := *t.slots.At(i); x != nil && !yield(i, x) {
				return
			}
		}
	}
}

// StartAt sets the last generation used to g, so that tests can make generations wrap.
func (t *Table[T]) StartAt(g uint32) { t.generation = g }

// Token returns the token of a source: its kind, from 0 to 7, and its generation and index in
// the table of that kind.
func Token(kind int, generation, index uint32) uint64 {
	return uint64(kind)<<61 | uint64(generation)<<32 | uint64(index)
}

// SplitToken is the inverse of Token.
func SplitToken(t uint64) (kind int, generation, index uint32) {
	return int(t >> 61), uint32(t>>32) & MaxGeneration, uint32(t)
}
