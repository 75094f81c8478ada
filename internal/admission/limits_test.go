package admission

import (
	"sync"
	"testing"
)

// Slots can be reserved until there are MaxConns connections, and again when one is released.
func TestReserve(t *testing.T) {
	l := &Limits{MaxConns: 2}
	for i, want := range []bool{true, true, false, false} {
		if l.hasSlot() != want || l.Reserve() != want {
			t.Errorf("reservation %d: got %t, want %t", i, !want, want)
		}
	}
	l.Release()
	if n := l.Conns(); n != 1 || !l.hasSlot() || !l.Reserve() {
		t.Errorf("a released slot cannot be reserved; Conns was %d, want 1", n)
	}
	unlimited := &Limits{}
	for range 1000 {
		if !unlimited.hasSlot() || !unlimited.Reserve() {
			t.Fatal("a reservation failed without MaxConns")
		}
	}
}

// The count never exceeds MaxConns, not even briefly.
func TestL7MaxConnsIsNeverExceeded(t *testing.T) {
	l := &Limits{MaxConns: 3}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10_000 {
				reserved := l.Reserve()
				if n := l.Conns(); n > l.MaxConns {
					t.Errorf("Conns() = %d, want at most MaxConns, %d", n, l.MaxConns)
				}
				if reserved {
					l.Release()
				}
			}
		})
	}
	all.Wait()
	if n := l.Conns(); n != 0 {
		t.Errorf("Conns() = %d, want 0", n)
	}
}
