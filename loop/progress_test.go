package loop

import (
	"testing"
	"time"
)

func TestL6SamplesOfWhatTheKernelHolds(t *testing.T) {
	var p progress
	for i, x := range []struct {
		held  int
		known bool
		want  bool
	}{
		{100, true, false}, // the first sample
		{100, true, false},
		{99, true, true},
		{200, true, false}, // more was sent
		{90, false, false}, // the system cannot report it now
		{50, true, false},  // the first sample again
		{0, true, true},
	} {
		if got := p.sample(x.held, x.known); got != x.want {
			t.Errorf("sample %d, of %d bytes: %t, want %t", i, x.held, got, x.want)
		}
	}
}

func TestL6SilenceAndTheNextCheck(t *testing.T) {
	const second = int64(time.Second)
	p := progress{interval: 10 * time.Second, lastSent: 0}
	if got := p.silence(5 * second); got != 5*time.Second {
		t.Errorf("at the first tick the peer is silent for %v, want 5s", got)
	}
	if got := p.silence(12 * second); got != 12*time.Second {
		t.Errorf("later the peer is silent for %v, want 12s", got)
	}
	p = progress{interval: 4 * time.Second}
	if got := p.silence(100 * second); got != 2*time.Second {
		t.Errorf("at a late first tick the peer is silent for %v, want the 2s since the first sample", got)
	}
	for _, x := range []struct {
		name     string
		lastSent int64
		timeout  time.Duration
		stops    bool
		want     int64
	}{
		{"no timeout, reading goes on", 97 * second, 0, false, 105 * second},
		{"reading stops: when it may be stalled", 97 * second, 0, true, 102 * second},
		{"stalled: after the same time again", 95 * second, 0, true, 105 * second},
		{"stalled for long", 10 * second, 0, true, 105 * second},
		{"the write timeout is sooner", 97 * second, 4 * time.Second, true, 101 * second},
		{"the write timeout is later", 97 * second, 60 * time.Second, true, 102 * second},
		{"the write timeout is all", 97 * second, 7 * time.Second, false, 104 * second},
		{"never now", 97 * second, time.Second, false, 100*second + 1},
	} {
		p := progress{lastSent: x.lastSent, timeout: x.timeout}
		if got := p.nextCheck(100*second, 5*time.Second, x.stops); got != x.want {
			t.Errorf("%s: the next check is at %v, want %v", x.name, time.Duration(got), time.Duration(x.want))
		}
	}
}
