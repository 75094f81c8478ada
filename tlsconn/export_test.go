package tlsconn

import (
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/loop"
)

const (
	CloggedBytes      = cloggedBytes
	MaxControlRecords = maxControlRecords
)

// HeldBytes returns how many bytes of memory c's layer has for records, in both directions. The loop must wait.
func HeldBytes(c *loop.Conn) int {
	l := layerOf(c)
	n := cap(l.in)
	if l.out != nil {
		n += cap(l.out.sending) + cap(l.out.next)
	}
	return n
}

// UpcallsOf returns what the driver of c calls. Only the loop may call its methods.
func UpcallsOf(c *loop.Conn) driver.StreamUpcalls { return layerOf(c) }
