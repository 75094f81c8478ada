//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package queue

import (
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/selector/kqueue"
	"github.com/pollux-io/pollux/internal/selector/poll"
)

var backends = []*Backend{
	newBackend("kqueue", kqueue.Note, func(c selector.Config) (selector.Selector, error) { return kqueue.Open(c) }),
	newBackend("poll", poll.Note, func(c selector.Config) (selector.Selector, error) { return poll.Open(c) }),
}
