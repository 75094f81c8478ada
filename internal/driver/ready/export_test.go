package ready

import (
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
)

// OpenDefault returns a driver on the backend that the environment requests, or on the best one.
func OpenDefault(c driver.Config) (*Driver, error) {
	q, err := queue.Open("", "", selector.Config{BusyPoll: c.BusyPoll})
	if err != nil {
		return nil, err
	}
	return OpenOn(q, c)
}
