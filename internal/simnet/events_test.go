package simnet

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestEvents checks the heap against a sorted list, with random insertions and removals.
func TestEvents(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h events
	var want []scheduled
	for seq := range uint64(10_000) {
		if len(want) > 0 && r.IntN(3) == 0 {
			i := r.IntN(len(want))
			if r.IntN(2) == 0 {
				i = 0
			}
			h.remove(want[i].event)
			if want[i].event.index != noIndex {
				t.Fatal("a removed event has an index")
			}
			want = slices.Delete(want, i, i+1)
		} else {
			s := scheduled{r.Int64N(100), seq, &event{index: noIndex}}
			h.push(s)
			i, _ := slices.BinarySearchFunc(want, s, func(a, b scheduled) int {
				if a.before(&b) {
					return -1
				}
				return 1
			})
			want = slices.Insert(want, i, s)
		}
		if len(h) != len(want) || len(want) > 0 && h[0] != want[0] {
			t.Fatalf("after %d changes: the first of %d events is not that of %d", seq+1, len(h), len(want))
		}
	}
	for i, s := range h {
		if s.event.index != i {
			t.Fatalf("the event at %d has the index %d", i, s.event.index)
		}
	}
}
