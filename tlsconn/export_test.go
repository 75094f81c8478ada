package tlsconn

import (
	"github.com/pollux-io/pollux/internal/layered"
	"github.com/pollux-io/pollux/loop"
)

const CloggedBytes = cloggedBytes

// HeldBytes returns how many bytes of memory c's layer has for records, in both directions. The loop must wait.
func HeldBytes(c *loop.Conn) int {
	l := layered.Of(c).(*layer)
	n := cap(l.in) + cap(l.held)
	if l.out != nil {
		n += cap(l.out.sending) + cap(l.out.next)
	}
	return n
}
