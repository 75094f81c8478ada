//go:build unix

package selector

import "github.com/pollux-io/pollux/internal/sys"

// PollFlags translates the events of poll(2) to flags; docs/platforms.md has the table. The
// events of epoll(7) are the same bits (eventpoll.h). interest is what the registration asks for.
func PollFlags(got int16, interest Interest) Flags {
	var f Flags
	if got&sys.POLLIN != 0 {
		f |= ReadableFlag
	}
	if got&sys.POLLOUT != 0 {
		f |= WritableFlag
	}
	if got&(sys.POLLPRI|sys.POLLRDHUP|sys.POLLHUP|sys.POLLERR) == 0 {
		return f
	}
	if got&sys.POLLPRI != 0 {
		f |= PriorityFlag
	}
	if got&sys.POLLRDHUP != 0 {
		f |= ReadClosed | ReadableFlag
	}
	if got&sys.POLLHUP != 0 {
		f |= ReadClosed | ReadableFlag | WritableFlag
		// Without POLLRDHUP, POLLHUP may mean the peer's FIN alone (macOS).
		if sys.POLLRDHUP != 0 || interest&Readable == 0 {
			f |= WriteClosed
		}
	}
	if got&sys.POLLERR != 0 {
		f |= Failed | ReadableFlag | WritableFlag
	}
	return f
}
