package pollux

import (
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/selector/afd"
)

var backends = []backend{
	{"iocp", func(c selector.Config) (selector.Selector, error) { return afd.Open(c) }, afd.Note()},
}
