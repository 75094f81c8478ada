package loop

import (
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/selector"
)

// A watch's event has the flags that the driver has reported, and token 0.
func TestWatchEvent(t *testing.T) {
	for f, want := range map[selector.Flags]pollux.EventState{
		0:                     {},
		selector.ReadableFlag: {Readable: true},
		selector.WritableFlag: {Writable: true},
		selector.PriorityFlag: {Priority: true},
		selector.ReadClosed:   {ReadClosed: true},
		selector.WriteClosed:  {WriteClosed: true},
		selector.Failed:       {Failed: true},
		selector.Closed:       {Closed: true},
	} {
		if got := eventOf(f); got != pollux.NewEvent(0, want) {
			t.Errorf("flags %#x: %v, want %+v", f, got, want)
		}
	}
}
