package loop

import (
	"errors"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/ready"
	"github.com/pollux-io/pollux/internal/hook"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/selector/kqueue"
	"github.com/pollux-io/pollux/internal/selector/kqueue/kqtest"
)

// The tests of this package can run on the model of a system's kqueue, by
// POLLUX_BACKEND=kqueue-NAME, with one of kqtest's names: .ci/run does.
func init() {
	for _, f := range kqtest.Flavours() {
		name := "kqueue-" + f.Name
		natives = append(natives, native{
			name:  name,
			probe: func() error { return nil },
			note:  func() string { return "a model" },
			open: func(c driver.Config) (driver.Driver, error) {
				s, err := kqueue.OpenOn(kqtest.New(f), selector.Config{BusyPoll: c.BusyPoll})
				if err != nil {
					return nil, err
				}
				q, ok := hook.NewPoll(name, s).(*pollux.Poll)
				if !ok {
					return nil, errors.New("the hook makes no Poll")
				}
				return ready.OpenOn(q, c)
			},
		})
	}
}
