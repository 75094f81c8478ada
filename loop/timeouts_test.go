package loop

import (
	"math"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/wheel"
)

// fakeClock is a loop's clock and timers.
type fakeClock struct {
	*wheel.Wheel
	now int64
}

func newFakeClock() *fakeClock { return &fakeClock{Wheel: wheel.New(0)} }

// pass advances the clock by d.
func (c *fakeClock) pass(d time.Duration) {
	for end := c.now + int64(d); c.now < end; {
		c.now = min(c.now+int64(wheel.Tick), end)
		c.Advance(c.now, math.MaxInt)
	}
}

// checkFires checks that a timer fires between d and one tick later, and no earlier.
func (c *fakeClock) checkFires(t *testing.T, d time.Duration, fired *int) {
	t.Helper()
	before := *fired
	if d > 0 {
		c.pass(d - 1)
	}
	if *fired != before {
		t.Fatalf("it fired before %v", d)
	}
	c.pass(wheel.Tick + 1)
	if *fired != before+1 {
		t.Fatalf("it has not fired within %v", d+wheel.Tick)
	}
}

const testIdle = time.Second

// newTestIdle returns an idleTimer of testIdle, and how often it has expired. If heldBack is not
// nil and returns true, the timeout is suspended.
func newTestIdle(c *fakeClock, heldBack func() bool) (t *idleTimer, expired *int) {
	t, expired = new(idleTimer), new(int)
	t.timer.Fire = func(*wheel.Timer) {
		if heldBack != nil && heldBack() {
			t.lastActive = c.now
		}
		if t.expired(c.Wheel, c.now, testIdle) {
			*expired++
		}
	}
	t.start(c.Wheel, c.now, testIdle)
	return t, expired
}

func TestL6IdleTimer(t *testing.T) {
	c := newFakeClock()
	idle, expired := newTestIdle(c, nil)
	c.checkFires(t, testIdle, expired)
	idle.start(c.Wheel, c.now, testIdle)
	for range 20 { // activity moves it
		c.pass(testIdle - wheel.Tick)
		idle.lastActive = c.now
	}
	c.checkFires(t, testIdle, expired)
	idle.start(c.Wheel, c.now, testIdle)
	c.pass(wheel.Tick)
	idle.lastActive = c.now // soon after the start: the timer fires just before the end
	c.checkFires(t, testIdle, expired)
	c.pass(10 * testIdle)
	if *expired != 3 {
		t.Errorf("it has expired %d times, want 3", *expired)
	}
}

// While this side holds the peer back, the timeout is suspended: it expires between d and 2d after
// that.
func TestL6IdleTimerSuspended(t *testing.T) {
	c := newFakeClock()
	paused := true
	_, expired := newTestIdle(c, func() bool { return paused })
	c.pass(10*testIdle + testIdle/2)
	paused = false
	c.pass(testIdle/2 - 1)
	if *expired != 0 {
		t.Fatal("it has expired less than its duration after the suspension")
	}
	c.pass(testIdle)
	if *expired != 1 {
		t.Error("it has not expired after the suspension")
	}
}

// A timeout that ends after the end of time never expires.
func TestL6IdleTimerForever(t *testing.T) {
	c := newFakeClock()
	c.pass(time.Second)
	idle := new(idleTimer)
	idle.timer.Fire = func(*wheel.Timer) { t.Error("it has fired") }
	idle.start(c.Wheel, c.now, math.MaxInt64)
	c.pass(2 * time.Minute)
	if idle.expired(c.Wheel, c.now, math.MaxInt64) {
		t.Error("it has expired")
	}
}

// Only more bytes than at the last sample show that the peer sends.
func TestL6UnreadSample(t *testing.T) {
	var s unreadSample
	for i, x := range []struct {
		bytes int
		known bool
		want  bool
	}{
		{0, true, true}, // the first sample
		{0, true, false},
		{10, true, true},
		{10, true, false},
		{4, true, false}, // it was read meanwhile
		{5, true, true},
		{0, false, false},
		{9, false, false},
	} {
		if got := s.grown(x.bytes, x.known); got != x.want {
			t.Errorf("sample %d, of %d bytes (known: %t): got %t, want %t", i, x.bytes, x.known, got, x.want)
		}
	}
}

// newTestRead returns a readTimer, and how often it has fired.
func newTestRead() (t *readTimer, fired *int) {
	t, fired = new(readTimer), new(int)
	t.timer.Fire = func(*wheel.Timer) { *fired++ }
	return t, fired
}

func TestL6ReadTimer(t *testing.T) {
	c := newFakeClock()
	read, fired := newTestRead()
	set := func(d time.Duration) { read.set(c.Wheel, c.now+int64(d)) }
	set(time.Second)
	c.checkFires(t, time.Second, fired)
	set(time.Second)
	c.pass(time.Second - wheel.Tick)
	set(2 * time.Second) // it moves
	c.checkFires(t, 2*time.Second, fired)
	set(time.Second)
	set(10 * time.Millisecond)
	c.checkFires(t, 10*time.Millisecond, fired)
	read.set(c.Wheel, 1) // in the past
	c.checkFires(t, 0, fired)
	set(time.Second)
	read.set(c.Wheel, 0) // removed
	c.pass(2 * time.Minute)
	if *fired != 4 {
		t.Errorf("it has fired %d times, want 4", *fired)
	}
}

// The deadline moves by the time for which it was suspended, and leaves readGrace after that.
func TestL6ReadTimerSuspended(t *testing.T) {
	for _, x := range []struct {
		name           string
		left, wantLeft time.Duration // at suspend, and at resume
	}{
		{"much left", time.Second, time.Second},
		{"little left", readGrace / 2, readGrace},
		{"just the grace left", readGrace, readGrace},
		{"nothing left", 0, readGrace}, // due, and has not fired yet
		{"for ever", math.MaxInt64 - time.Second, math.MaxInt64 - time.Second},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := newFakeClock()
			c.pass(time.Second)
			read, fired := newTestRead()
			read.resume(c.Wheel, c.now) // nothing to resume
			read.suspend(c.Wheel, c.now)
			if read.at != 0 {
				t.Fatal("suspending and resuming have set a deadline")
			}
			read.set(c.Wheel, c.now+int64(x.left))
			for range 3 { // suspensions that follow each other take nothing away
				read.suspend(c.Wheel, c.now)
				c.pass(time.Minute)
				read.suspend(c.Wheel, c.now) // has no effect
				c.pass(time.Minute)
				read.resume(c.Wheel, c.now)
			}
			read.resume(c.Wheel, c.now) // has no effect
			if x.wantLeft > time.Hour {
				c.pass(2 * time.Minute)
				if *fired != 0 {
					t.Error("it has fired")
				}
				return
			}
			if *fired != 0 {
				t.Fatal("it has fired while it was suspended")
			}
			c.checkFires(t, x.wantLeft, fired)
		})
	}
}

// A deadline that is set or removed while the last one is suspended replaces it.
func TestL6ReadTimerReplacedWhileSuspended(t *testing.T) {
	c := newFakeClock()
	read, fired := newTestRead()
	read.set(c.Wheel, int64(time.Second))
	read.suspend(c.Wheel, c.now)
	read.set(c.Wheel, c.now+int64(time.Minute))
	read.suspend(c.Wheel, c.now)
	c.pass(2 * time.Minute)
	read.resume(c.Wheel, c.now)
	c.checkFires(t, time.Minute, fired)

	read.set(c.Wheel, c.now+int64(time.Second))
	read.suspend(c.Wheel, c.now)
	read.set(c.Wheel, 0)
	read.resume(c.Wheel, c.now)
	c.pass(2 * time.Minute)
	if *fired != 1 {
		t.Errorf("it has fired %d times, want 1", *fired)
	}
}
