package loop

import (
	"time"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// SetStalledAfter sets stalledAfter, before there are connections.
func (g *Group) SetStalledAfter(d time.Duration) { g.stalledAfter = d }

// FDOf returns the descriptor of a connection, which must stay open while it is used.
func FDOf(c *Conn) sys.FD {
	fd, _ := handle.Of(&c.stream).Use()
	handle.Of(&c.stream).Done()
	return fd
}
