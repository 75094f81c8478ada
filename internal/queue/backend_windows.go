package queue

import (
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/selector/afd"
)

var backends = []*Backend{
	newBackend("iocp", afd.Note, func(c selector.Config) (selector.Selector, error) { return afd.Open(c) }),
}
