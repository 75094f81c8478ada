//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package pollux

import (
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/selector/kqueue"
)

var backends = []backend{
	{"kqueue", func(c selector.Config) (selector.Selector, error) { return kqueue.Open(c) }, kqueue.Note()},
}
