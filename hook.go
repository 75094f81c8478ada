package pollux

import (
	"sync"

	"github.com/pollux-io/pollux/internal/hook"
	"github.com/pollux-io/pollux/internal/selector"
)

func init() {
	hook.NewPoll = func(backend string, s selector.Selector) any { return newPoll(backend, s) }
	hook.Table = func(poll any) *selector.Table { return poll.(*Poll).table }
	hook.Event = func(f selector.Flags) any { return hookEvents()[f] }
}

// hookEvents holds every possible event as an interface value, so that hook.Event does
// not allocate.
var hookEvents = sync.OnceValue(func() []any {
	all := make([]any, 1<<8)
	for i := range all {
		all[i] = Event{flags: selector.Flags(i)}
	}
	return all
})
