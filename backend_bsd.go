//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package pollux

import (
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/selector/kqueue"
	"github.com/pollux-io/pollux/internal/selector/poll"
)

var backends = []backend{
	{"kqueue", func(c selector.Config) (selector.Selector, error) { return kqueue.Open(c) }, kqueue.Note()},
	{"poll", func(c selector.Config) (selector.Selector, error) { return poll.Open(c) }, poll.Note()},
}
