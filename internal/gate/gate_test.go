package gate

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestOpenGateTellsNothing(t *testing.T) {
	var g Gate
	for _, c := range []Class{Long, Short} {
		if !g.Enter(c) {
			t.Fatalf("Enter(%d) refused by an open gate", c)
		}
		if p := g.Leave(c); p != (Passed{}) {
			t.Errorf("Leave(%d) = %+v on an open gate, want nothing", c, p)
		}
	}
}

func TestEachMomentIsToldToTheOneWhoBringsItAbout(t *testing.T) {
	var g Gate
	g.Enter(Long)
	g.Enter(Short)
	g.Enter(Short)
	if first, p := g.Close(); !first || p != (Passed{}) {
		t.Fatalf("Close = %v %+v, want first and nothing passed", first, p)
	}
	if first, p := g.Close(); first || p != (Passed{}) {
		t.Fatalf("second Close = %v %+v, want not first", first, p)
	}
	if g.Enter(Long) || g.Enter(Short) {
		t.Fatal("a closed gate let a newcomer in")
	}
	if p := g.Leave(Short); p != (Passed{}) {
		t.Fatalf("first of two leaving = %+v, want nothing", p)
	}
	if p := g.Leave(Short); p != (Passed{Sealed: true}) {
		t.Fatalf("last Short leaving = %+v, want sealed", p)
	}
	if p := g.Leave(Long); p != (Passed{Empty: true}) {
		t.Fatalf("last of all leaving = %+v, want empty", p)
	}
}

func TestCloseOfAnIdleGatePassesBoth(t *testing.T) {
	var g Gate
	if first, p := g.Close(); !first || p != (Passed{Sealed: true, Empty: true}) {
		t.Fatalf("Close = %v %+v", first, p)
	}
}

// Every schedule must tell each moment once, and Sealed never while a Short
// user is inside.
func TestMomentsAreToldOnceUnderConcurrency(t *testing.T) {
	for range 50 {
		var g Gate
		var inside, sealed, empty atomic.Int64
		note := func(p Passed) {
			if p.Sealed {
				if n := inside.Load(); n != 0 {
					t.Errorf("sealed with %d inside", n)
				}
				sealed.Add(1)
			}
			if p.Empty {
				empty.Add(1)
			}
		}
		var wg sync.WaitGroup
		for i := range 8 {
			c := Long
			if i%2 == 0 {
				c = Short
			}
			wg.Go(func() {
				for g.Enter(c) {
					if c == Short {
						inside.Add(1)
						inside.Add(-1)
					}
					note(g.Leave(c))
				}
			})
		}
		wg.Go(func() {
			_, p := g.Close()
			note(p)
		})
		wg.Wait()
		if sealed.Load() != 1 || empty.Load() != 1 {
			t.Fatalf("sealed told %d times, empty %d times, want once each", sealed.Load(), empty.Load())
		}
	}
}
