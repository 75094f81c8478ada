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
		bad = selector.Failed
	)
	reset := uint32(syscall.ECONNRESET)
	for _, c := range []struct {
		k    Kevent
		want selector.Flags
	}{
		{Kevent{Filter: FilterRead, Flags: FlagClear}, r},
		{Kevent{Filter: FilterRead, Flags: FlagClear | FlagAdd}, r},
		{Kevent{Filter: FilterRead, Flags: FlagEOF, Data: 5}, r | rc},
		{Kevent{Filter: FilterRead, Flags: FlagEOF, Fflags: reset}, r | w | rc | bad},
		{Kevent{Filter: FilterWrite}, w},
		{Kevent{Filter: FilterWrite, Flags: FlagEOF}, w | wc},
		{Kevent{Filter: FilterWrite, Flags: FlagEOF, Fflags: reset}, r | w | wc | bad},
		{Kevent{Filter: FilterExcept, Fflags: NoteOOB}, selector.PriorityFlag},
		{Kevent{Filter: FilterExcept, Flags: FlagEOF}, r | rc},
		{Kevent{Filter: FilterRead, Flags: FlagError, Data: int64(syscall.EBADF)}, r | w | bad},
	} {
		if got := flags(&c.k); got != c.want {
			t.Errorf("%+v: %#x, want %#x", c.k, got, c.want)
		}
	}
}
