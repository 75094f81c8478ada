package loop

import (
	"errors"
	"testing"
)

const below watermark = 0

func TestL4Watermark(t *testing.T) {
	const low, high, most = 10, 100, 1000
	for _, x := range []struct {
		name      string
		n, unsent int
		err       error
		want      watermark
	}{
		{"a small write", 1, 0, nil, below},
		{"up to the high watermark", 100, 0, nil, below},
		{"above the high watermark", 101, 0, nil, above},
		{"above it with what is unsent", 1, 100, nil, above},
		{"up to MaxUnsentBytes", 1000, 0, nil, above},
		{"up to MaxUnsentBytes with what is unsent", 999, 1, nil, above},
		{"above MaxUnsentBytes with what is unsent", 999, 2, ErrBufferFull, above},
		{"a small write above MaxUnsentBytes", 1, 1000, ErrBufferFull, above},
		{"above MaxUnsentBytes on its own", 1001, 0, ErrTooLarge, below},
		{"above MaxUnsentBytes on its own, beside unsent bytes", 1001, 50, ErrTooLarge, below},
	} {
		var w watermark
		if err := w.admit(x.n, x.unsent, high, most); !errors.Is(err, x.err) || w != x.want {
			t.Errorf("%s: the error is %v and the watermark %d, want %v and %d", x.name, err, w, x.err, x.want)
		}
		w = above
		if w.admit(x.n, x.unsent, high, most); w != above {
			t.Errorf("%s: a write has passed from above to below", x.name)
		}
	}
	for _, x := range []struct {
		unsent int
		was    watermark
		want   bool
	}{{0, below, false}, {10, below, false}, {11, above, false}, {10, above, true}, {0, above, true}} {
		w := x.was
		if w.reached(x.unsent, low) != x.want || (w == below) != (x.want || x.was == below) {
			t.Errorf("with %d unsent bytes, and %d before: reached is %t and the watermark %d, want %t", x.unsent, x.was, !x.want, w, x.want)
		}
	}
	w := above | ownWatermarks
	if w.reached(low, low); w != ownWatermarks {
		t.Errorf("passing to below has changed other flags: %b", w)
	}
	w = above
	if w.sentImmediately(1); w != above {
		t.Error("with one byte unsent a write has passed to below")
	}
	if w.sentImmediately(0); w != below {
		t.Error("with nothing unsent the watermark is above")
	}
}

// What a flush means for reading: it stops above the high watermark if there is back-pressure.
func TestL4FlowAfterAFlush(t *testing.T) {
	l := &Loop{g: &Group{config: Config{LowWatermarkBytes: 10, HighWatermarkBytes: 100, MaxUnsentBytes: 1000}}}
	for _, x := range []struct {
		name     string
		was      watermark
		unsent   int
		accepted bool
		choice   backpressure
		want     flow
		own      watermarks // zero: none
	}{
		{"below", below, 100, true, byDefault, flowUnchanged, watermarks{}},
		{"above, accepted", above, 11, true, byDefault, flowStops, watermarks{}},
		{"above, dialed", above, 11, false, byDefault, flowContinues, watermarks{}},
		{"above, dialed, with back-pressure", above, 11, false, always, flowStops, watermarks{}},
		{"above, accepted, without back-pressure", above, 11, true, never, flowContinues, watermarks{}},
		{"down to the low watermark", above, 10, true, byDefault, flowDrained, watermarks{}},
		{"down to the low watermark, dialed", above, 0, false, byDefault, flowDrained, watermarks{}},
		{"down to Config's low watermark, above the connection's own", above, 10, true, byDefault, flowStops, watermarks{8, 5}},
		{"down to the connection's own low watermark", above, 5, true, byDefault, flowDrained, watermarks{8, 5}},
		{"down to the connection's own, higher low watermark", above, 50, true, byDefault, flowDrained, watermarks{80, 50}},
	} {
		c := &Conn{loop: l, watermark: x.was}
		if x.accepted {
			c.accepted = &Listener{}
		}
		if x.choice != byDefault {
			c.makeRareExtrasLocked().backpressure = x.choice
		}
		if x.own != (watermarks{}) {
			c.makeRareExtrasLocked().watermarks = x.own
			c.watermark |= ownWatermarks
		}
		if got := c.flowLocked(x.unsent); got != x.want {
			t.Errorf("%s: flow %d, want %d", x.name, got, x.want)
		}
		if got := c.flowLocked(x.unsent); x.want == flowDrained && got != flowUnchanged {
			t.Errorf("%s: then flow %d, want %d: Drained is due once", x.name, got, flowUnchanged)
		}
	}
}
