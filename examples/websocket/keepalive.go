package main

import (
	"errors"

	"github.com/pollux-io/pollux/examples/websocket/internal/websocket"
	"github.com/pollux-io/pollux/loop"
)

// keepalive finds clients that are gone without FIN or reset: one that is silent for an interval is
// pinged, and aborted if it is silent for the next one as well. Traffic only sets a flag; the timer
// looks at it once in an interval.
type keepalive struct {
	timer  *loop.Timer
	heard  bool // something has come since the timer has fired
	pinged bool
}

var errNoPong = errors.New("the client has not answered a ping")

// watch begins the intervals.
func (s *session) watch(c *loop.Conn) {
	if s.pingInterval > 0 {
		s.timer = c.Loop().AfterFunc(s.pingInterval, func() { s.tick(c) })
	}
}

func (s *session) unwatch() {
	if s.timer != nil {
		s.timer.Stop()
	}
}

// tick is called at the end of an interval. While bytes are unsent, the write timeout decides
// whether the client is there: it may not be read from (back-pressure), so its pong could not be
// seen.
func (s *session) tick(c *loop.Conn) {
	switch {
	case s.heard || s.closing || c.Unsent() > 0:
		s.pinged = false
	case s.pinged:
		c.AbortWith(errNoPong)
		return
	default:
		s.pinged = true
		s.stats.pings.Add(1)
		s.send(c, websocket.Ping, nil)
	}
	s.heard = false
	s.timer.Reset(s.pingInterval)
}
