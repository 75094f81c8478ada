package simtest

import (
	"errors"
	"fmt"

	"github.com/pollux-io/pollux/loop"
)

// send sends a message of n bytes by the group's Fanout, whose messages are one stream: that of each
// member begins where it was added.
func (g *group) send(n int) {
	w := g.w
	var all flow
	var at int
	w.locked(func() {
		at = g.fanSent
		for _, c := range w.conns {
			if c.isMemberLocked(g) {
				c.ends[0].out.offered += n
			}
		}
	})
	s := w.newShared(all.bytes(at, n))
	w.called()
	err := g.fanout.Send(s)
	s.Release()
	w.locked(func() {
		if err != nil {
			for _, c := range w.conns {
				if c.isMemberLocked(g) {
					c.ends[0].out.offered -= n
				}
			}
			if !errors.Is(err, loop.ErrTooLarge) || n <= w.p.setting.maxUnsent {
				w.failLocked(fmt.Sprintf("Fanout.Send of %d bytes: %v", n, err))
			}
			return
		}
		g.fanSent += n
		for _, c := range w.conns {
			if c.isMemberLocked(g) {
				c.ends[0].out.sent += n
			}
		}
	})
}

// isMemberLocked reports whether the connection is a member of the group's Fanout, unless it has ended.
func (c *conn) isMemberLocked(g *group) bool {
	k := &c.ends[0].inc.known
	return c.kind == fanned && c.g == g && k.opened && !k.closed
}
