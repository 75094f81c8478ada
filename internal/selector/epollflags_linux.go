package selector

import "github.com/pollux-io/pollux/internal/sys"

// The build fails if an event of epoll(7) is not the same bit as that of poll(2).
var _ = [1]struct{}{}[(sys.EPOLLIN^sys.POLLIN)|(sys.EPOLLOUT^sys.POLLOUT)|(sys.EPOLLPRI^sys.POLLPRI)|
	(sys.EPOLLRDHUP^sys.POLLRDHUP)|(sys.EPOLLHUP^sys.POLLHUP)|(sys.EPOLLERR^sys.POLLERR)]

// EpollEvents returns the events of epoll(7) that report what the interest asks for. The kernel adds
// errors and hang-ups.
func EpollEvents(i Interest) (events uint32) {
	if i&Readable != 0 {
		events |= sys.EPOLLIN | sys.EPOLLRDHUP
	}
	if i&Writable != 0 {
		events |= sys.EPOLLOUT
	}
	if i&Priority != 0 {
		events |= sys.EPOLLPRI
	}
	return events
}

// EpollFlags translates the events of epoll(7) to flags.
func EpollFlags(got uint32) Flags { return PollFlags(int16(got), AnyInterest) }
