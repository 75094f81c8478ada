package loop

import (
	"time"

	"github.com/pollux-io/pollux/internal/sys"
)

// SetStalledAfter makes stalledAfter shorter, before there are connections.
func (g *Group) SetStalledAfter(d time.Duration) { g.stalledAfter = d }

// FDOf returns the descriptor of a connection, which must stay open meanwhile.
func FDOf(c *Conn) sys.FD {
	fd, _ := c.stream.PollHandle().Use()
	c.stream.PollHandle().Done()
	return fd
}
