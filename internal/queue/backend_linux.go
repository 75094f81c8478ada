package queue

import (
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/selector/epoll"
	"github.com/pollux-io/pollux/internal/selector/poll"
)

var backends = []*Backend{
	newBackend("epoll", epoll.Note, func(c selector.Config) (selector.Selector, error) { return epoll.Open(c) }),
	newBackend("poll", poll.Note, func(c selector.Config) (selector.Selector, error) { return poll.Open(c) }),
}
