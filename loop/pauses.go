package loop

// pause is a set of reasons why the driver does not receive.
type pause uint8

const (
	byUser pause = 1 << iota
	byWatermark
	byUnread // what is unread may still be delivered
)

// receives reports whether the driver should receive. A failing connection is read to its end,
// within MaxUnreadBytes, to find out whether anything is unread.
func (c *Conn) receives() bool {
	if c.phase == failing {
		return c.pauses&byUnread == 0
	}
	return c.pauses == 0 && c.phase != starting && !c.phase.gone()
}

func (c *Conn) pause(why pause) {
	received := c.receives()
	c.pauses |= why
	if received && !c.receives() {
		c.driver().Pause(&c.stream)
	}
}

func (c *Conn) resume(why pause) {
	if c.pauses&why == 0 {
		return
	}
	c.pauses &^= why
	if c.pauses&^byUnread == 0 && (c.in != nil || c.flags&eofPending != 0) {
		c.submitNextTurn(wantDeliver)
	}
	if c.receives() {
		c.driver().Resume(&c.stream)
	}
}
