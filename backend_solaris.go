package pollux

import (
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/selector/poll"
)

// backends: event ports are not used (port_create(3C)), poll(2) is.
var backends = []backend{
	{"poll", func(c selector.Config) (selector.Selector, error) { return poll.Open(c) }, poll.Note()},
}
