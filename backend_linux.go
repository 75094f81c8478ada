package pollux

import (
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/selector/epoll"
	"github.com/pollux-io/pollux/internal/selector/poll"
)

var backends = []backend{
	{"epoll", func(c selector.Config) (selector.Selector, error) { return epoll.Open(c) }, epoll.Note()},
	{"poll", func(c selector.Config) (selector.Selector, error) { return poll.Open(c) }, poll.Note()},
}
