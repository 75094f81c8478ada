package selector

import "github.com/pollux-io/pollux/internal/sys"

// The build fails if an event of epoll(7) is not the same bit as that of poll(2).
var _ = [1]struct{}{}[(sys.EPOLLIN^sys.POLLIN)|(sys.EPOLLOUT^sys.POLLOUT)|(sys.EPOLLPRI^sys.POLLPRI)|
	(sys.EPOLLRDHUP^sys.POLLRDHUP)|(sys.EPOLLHUP^sys.POLLHUP)|(sys.EPOLLERR^sys.POLLERR)]

// EpollFlags translates the events of epoll(7) to flags.
func EpollFlags(got uint32) Flags { return PollFlags(int16(got), AnyInterest) }
