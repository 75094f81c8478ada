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

// Models of other systems' kqueue as backends for the tests of this package:
// POLLUX_BACKEND=kqueue-NAME, with one of kqtest's names, as .ci/run sets it.
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
