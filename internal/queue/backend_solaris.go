package queue

import (
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/selector/poll"
)

// backends has poll(2) only; event ports (port_create(3C)) are not used.
var backends = []*Backend{
	newBackend("poll", poll.Note, func(c selector.Config) (selector.Selector, error) { return poll.Open(c) }),
}
