package pollux

import (
	"github.com/pollux-io/pollux/internal/hook"
	"github.com/pollux-io/pollux/internal/selector"
)

func init() {
	hook.NewPoll = func(backend string, s selector.Selector) any { return newPoll(backend, s) }
	hook.Table = func(poll any) *selector.Table { return poll.(*Poll).table }
}
