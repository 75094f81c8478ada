package kqueue

import (
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/internal/selector"
)

// The table in docs/platforms.md.
func TestFlags(t *testing.T) {
	const (
		r   = selector.ReadableFlag
		w   = selector.WritableFlag
		rc  = selector.ReadClosed
		wc  = selector.WriteClosed
		bad = selector.Error
	)
	reset := uint32(syscall.ECONNRESET)
	for _, c := range []struct {
		k    Kevent
		want selector.Flags
	}{
		{Kevent{Filter: FilterRead, Flags: EV_CLEAR}, r},
		{Kevent{Filter: FilterRead, Flags: EV_CLEAR | EV_ADD}, r},
		{Kevent{Filter: FilterRead, Flags: EV_EOF, Data: 5}, r | rc},
		{Kevent{Filter: FilterRead, Flags: EV_EOF, Fflags: reset}, r | w | rc | bad},
		{Kevent{Filter: FilterWrite}, w},
		{Kevent{Filter: FilterWrite, Flags: EV_EOF}, w | wc},
		{Kevent{Filter: FilterWrite, Flags: EV_EOF, Fflags: reset}, r | w | wc | bad},
		{Kevent{Filter: FilterExcept, Fflags: NoteOOB}, selector.PriorityFlag},
		{Kevent{Filter: FilterExcept, Flags: EV_EOF}, r | rc},
		{Kevent{Filter: FilterRead, Flags: EV_ERROR, Data: int64(syscall.EBADF)}, r | w | bad},
	} {
		if got := flags(&c.k); got != c.want {
			t.Errorf("%+v: %#x, want %#x", c.k, got, c.want)
		}
	}
}
