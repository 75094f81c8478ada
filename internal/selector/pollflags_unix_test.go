//go:build unix

package selector

import (
	"testing"

	"github.com/pollux-io/pollux/internal/sys"
)

// Q8: Readable and Writable are set with the ends and errors that the next read or write returns.
func TestQ8PollFlags(t *testing.T) {
	const rw = ReadableFlag | WritableFlag
	hangUp := rw | ReadClosed | WriteClosed
	ambiguous := hangUp // POLLHUP of a registration for Readable
	fin := ReadableFlag | ReadClosed
	if sys.POLLRDHUP == 0 {
		ambiguous, fin = rw|ReadClosed, 0
	}
	for _, c := range []struct {
		got      int16
		interest Interest
		want     Flags
	}{
		{0, AnyInterest, 0},
		{sys.POLLIN, AnyInterest, ReadableFlag},
		{sys.POLLIN | sys.POLLOUT, AnyInterest, rw},
		{sys.POLLPRI, AnyInterest, PriorityFlag},
		{sys.POLLRDHUP, AnyInterest, fin},
		{sys.POLLHUP, Writable, hangUp},
		{sys.POLLHUP, Readable, ambiguous},
		{sys.POLLERR, Readable, rw | Failed},
	} {
		if f := PollFlags(c.got, c.interest); f != c.want {
			t.Errorf("PollFlags(%#x, %#x) = %#x, want %#x", c.got, c.interest, f, c.want)
		}
	}
}
