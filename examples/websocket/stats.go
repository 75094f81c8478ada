package main

import (
	"context"
	"fmt"
	"log"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/examples/websocket/internal/websocket"
	"github.com/pollux-io/pollux/loop"
)

// stats are counters since the server has begun.
type stats struct {
	opened, refused atomic.Uint64 // handshakes
	messages        atomic.Uint64 // received
	pings           atomic.Uint64 // sent
	slow            atomic.Uint64 // messages that slow clients did not get

	mu    sync.Mutex
	codes map[websocket.CloseCode]uint64 // how connections have ended
}

func (s *stats) ended(code websocket.CloseCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.codes == nil {
		s.codes = map[websocket.CloseCode]uint64{}
	}
	s.codes[code]++ // at most as many as there are codes: 65,536
}

// ends returns how connections have ended, as "1000: 17, 1001: 4".
func (s *stats) ends() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(s.codes)) {
		parts = append(parts, fmt.Sprintf("%d: %d", code, s.codes[code]))
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// figures returns the figures of the server as a line of text.
func (s *server) figures() string {
	var sum loop.LoopStats
	for _, l := range s.group.Stats().Loops {
		sum.Conns += l.Conns
		sum.BytesIn += l.BytesIn
		sum.BytesOut += l.BytesOut
		sum.UnsentBytes += l.UnsentBytes
		sum.SlowCallbacks += l.SlowCallbacks
	}
	rooms, members, pending := s.hub.counts()
	return fmt.Sprintf("%d connections; %d members of %d rooms; handshakes: %d done, %d refused; messages: %d received, %d missed by slow clients; "+
		"bytes: %d in, %d out, %d unsent, %d pending; %d pings; slow callbacks: %d; ended: %s",
		sum.Conns, members, rooms, s.stats.opened.Load(), s.stats.refused.Load(), s.stats.messages.Load(), s.stats.slow.Load(),
		sum.BytesIn, sum.BytesOut, sum.UnsentBytes, pending, s.stats.pings.Load(), sum.SlowCallbacks, s.stats.ends())
}

// logStats logs the figures at an interval, until ctx ends.
func (s *server) logStats(ctx context.Context, every time.Duration) {
	if every <= 0 {
		<-ctx.Done()
		return
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			log.Print(s.figures())
		}
	}
}
