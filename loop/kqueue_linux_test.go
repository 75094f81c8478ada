package loop

import (
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/ready"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/selector/kqueue"
	"github.com/pollux-io/pollux/internal/selector/kqueue/kqtest"
)

// Models of other systems' kqueue as backends for the tests of this package:
// POLLUX_BACKEND=kqueue-NAME, with one of kqtest's names, as .ci/run sets it.
func init() {
	for _, f := range kqtest.Flavours() {
		name := "kqueue-" + f.Name
		natives = append(natives, newNative(
			name,
			func() error { return nil },
			func() string { return "a model" },
			func(c driver.Config) (driver.Driver, error) {
				s, err := kqueue.OpenOn(kqtest.New(f), selector.Config{BusyPoll: c.BusyPoll})
				if err != nil {
					return nil, err
				}
				return ready.OpenOn(queue.New(name, s), c)
			},
		))
	}
}
