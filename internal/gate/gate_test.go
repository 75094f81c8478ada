package gate

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestOpenGateReportsNothing(t *testing.T) {
	var g Gate
	for _, c := range []Class{Long, Short} {
		if !g.Enter(c) {
			t.Fatalf("Enter(%d) refused by an open gate", c)
		}
		if p := g.Leave(c); p != (Reached{}) {
			t.Errorf("Leave(%d) = %+v on an open gate, want nothing", c, p)
		}
	}
}

func TestEachPointIsReportedToTheCallThatReachesIt(t *testing.T) {
	var g Gate
	g.Enter(Long)
	g.Enter(Short)
	g.Enter(Short)
	if first, p := g.Close(); !first || p != (Reached{}) {
		t.Fatalf("Close = %v %+v, want first and nothing passed", first, p)
	}
	if first, p := g.Close(); first || p != (Reached{}) {
		t.Fatalf("second Close = %v %+v, want not first", first, p)
	}
	if g.Enter(Long) || g.Enter(Short) {
		t.Fatal("Enter of a closed gate returned true")
	}
	if p := g.Leave(Short); p != (Reached{}) {
		t.Fatalf("first of two leaving = %+v, want nothing", p)
	}
	if p := g.Leave(Short); p != (Reached{Sealed: true}) {
		t.Fatalf("last Short leaving = %+v, want sealed", p)
	}
	if p := g.Leave(Long); p != (Reached{Empty: true}) {
		t.Fatalf("last of all leaving = %+v, want empty", p)
	}
}

func TestCloseOfAnIdleGateReportsBoth(t *testing.T) {
	var g Gate
	if first, p := g.Close(); !first || p != (Reached{Sealed: true, Empty: true}) {
		t.Fatalf("Close = %v %+v", first, p)
	}
}

// panics returns the message with which f panics; "" if it does not panic.
func panics(f func()) (message string) {
	defer func() { message, _ = recover().(string) }()
	f()
	return ""
}

// A Leave without an Enter panics, whatever the other count and the closed bit are, and
// does not change the word.
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

// A user beyond MaxUsers does not overflow into the other class, and MaxUsers users can
// leave again.
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

// Every schedule must report each point once, and Sealed never while a Short
// user is inside.
func TestPointsAreReportedOnceUnderConcurrency(t *testing.T) {
	for range 50 {
		var g Gate
		var inside, sealed, empty atomic.Int64
		note := func(p Reached) {
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
			t.Fatalf("sealed reported %d times, empty %d times, want once each", sealed.Load(), empty.Load())
		}
	}
}

// CloseIfEmpty closes a gate that is open and has no users, and no other.
func TestCloseIfEmpty(t *testing.T) {
	for _, c := range []Class{Long, Short} {
		var g Gate
		g.Enter(c)
		if g.CloseIfEmpty() || g.Closed() {
			t.Errorf("CloseIfEmpty closed a gate with a user of class %d", c)
		}
		if p := g.Leave(c); p != (Reached{}) {
			t.Errorf("Leave reached %+v though the gate is open", p)
		}
		if !g.CloseIfEmpty() || !g.Closed() || g.Enter(c) {
			t.Error("CloseIfEmpty did not close a gate without users")
		}
		if g.CloseIfEmpty() {
			t.Error("a second CloseIfEmpty returned true")
		}
	}
}
