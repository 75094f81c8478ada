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

// panics reports with what message f panics; "" if it does not.
func panics(f func()) (message string) {
	defer func() { message, _ = recover().(string) }()
	f()
	return ""
}

// A Leave without its Enter is found out at once, whatever the other count and the closed
// bit are, and leaves them as they were.
func TestLeaveWithoutEnterPanics(t *testing.T) {
	for _, c := range []Class{Long, Short} {
		for _, others := range []int{0, 1, 3} {
			for _, shut := range []bool{false, true} {
				var g Gate
				for range others {
					g.Enter(Short - c)
				}
				if shut {
					g.Close()
				}
				before := g.word.Load()
				if panics(func() { g.Leave(c) }) == "" {
					t.Errorf("class %d, %d users of the other, closed %v: Leave without Enter did not panic", c, others, shut)
				}
				if now := g.word.Load(); now != before {
					t.Errorf("class %d, %d users of the other, closed %v: the word is %#x now, was %#x", c, others, shut, now, before)
				}
			}
		}
	}
}

// One user too many is not counted as one of the other class; that many can leave again.
func TestEnterPastMaxUsersPanics(t *testing.T) {
	for _, c := range []Class{Long, Short} {
		var g Gate
		g.word.Store(MaxUsers << c)
		if panics(func() { g.Enter(c) }) == "" {
			t.Errorf("class %d: MaxUsers+1 users did not panic", c)
		}
		if now := g.word.Load(); now != MaxUsers<<c {
			t.Errorf("class %d: the word is %#x after a refused Enter, was %#x", c, now, uint64(MaxUsers)<<c)
		}
		if what := panics(func() { g.Leave(c) }); what != "" {
			t.Errorf("class %d: the first of MaxUsers cannot leave: %s", c, what)
		}
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
