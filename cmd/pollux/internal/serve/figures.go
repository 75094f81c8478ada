package serve

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pollux-io/pollux/loop"

	"github.com/pollux-io/pollux/cmd/pollux/internal/report"
)

// Figures are what a server has done, and does.
type Figures struct {
	at                           time.Time
	conns                        int
	accepts, messages            uint64
	bytesIn, bytesOut, unsent    uint64
	messageRate, inRate, outRate float64   // a second, since the figures before
	busy                         []float64 // of each loop, 0 to 1
	busyTime                     []time.Duration
}

// A sampler asks the group for its figures. A loop that a callback blocks does not
// answer: then what it said last stands, so that no counter ever falls.
type sampler struct {
	mu   sync.Mutex
	last []loop.LoopStats
}

func (s *sampler) stats(g *loop.Group) loop.Stats {
	stats := g.Stats()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = make([]loop.LoopStats, len(stats.Loops))
	}
	for i := range stats.Loops {
		now, last := &stats.Loops[i], &s.last[i]
		if now.Turns < last.Turns {
			conns, slow, queued, longest := now.Conns, now.SlowCallbacks, now.Queued, now.LongestCallback
			*now = *last
			now.Conns, now.SlowCallbacks, now.Queued, now.LongestCallback = conns, slow, queued, max(longest, last.LongestCallback)
		}
		*last = *now
	}
	return stats
}

// NoFigures are those of a server to which nothing has happened yet, as of now.
func (s *Server) NoFigures() *Figures {
	return &Figures{at: time.Now(), busyTime: make([]time.Duration, len(s.group.Loops()))}
}

// Figures returns the figures of now; before are those of the last time, or nil.
func (s *Server) Figures(before *Figures) *Figures {
	stats := s.sampler.stats(s.group)
	f := &Figures{at: time.Now(), busy: make([]float64, len(stats.Loops))}
	for i := range stats.Loops {
		l := &stats.Loops[i]
		f.conns += l.Conns
		f.accepts += l.Accepts
		f.messages += l.Messages
		f.bytesIn += l.BytesIn
		f.bytesOut += l.BytesOut
		f.unsent += uint64(l.UnsentBytes)
		f.busyTime = append(f.busyTime, l.BusyTime)
	}
	if before == nil {
		return f
	}
	seconds := max(f.at.Sub(before.at).Seconds(), 1e-9)
	f.messageRate = float64(f.messages-before.messages) / seconds
	f.inRate = float64(f.bytesIn-before.bytesIn) / seconds
	f.outRate = float64(f.bytesOut-before.bytesOut) / seconds
	for i := range f.busy {
		f.busy[i] = min((f.busyTime[i]-before.busyTime[i]).Seconds()/seconds, 1)
	}
	return f
}

// Changed reports whether anything has happened since before.
func (f *Figures) Changed(before *Figures) bool {
	return f.conns != before.conns || f.accepts != before.accepts || f.messages != before.messages ||
		f.bytesIn != before.bytesIn || f.bytesOut != before.bytesOut
}

// Line is one line of what goes on now, what matters most first.
func (f *Figures) Line() string {
	return fmt.Sprintf("%s, %s messages (%s/s), queued %s, busy %s, in %s (%s/s), out %s (%s/s)",
		connections(f.conns), count(float64(f.messages)), count(f.messageRate), report.Bytes(int64(f.unsent)), busy(f.busy),
		report.Bytes(int64(f.bytesIn)), report.Bytes(int64(f.inRate)),
		report.Bytes(int64(f.bytesOut)), report.Bytes(int64(f.outRate)))
}

// maxBusyShown is of how many loops a line tells each; of more it gives the range.
const maxBusyShown = 8

func busy(loops []float64) string {
	if len(loops) > maxBusyShown {
		return fmt.Sprintf("%.0f%% to %.0f%%", 100*slices.Min(loops), 100*slices.Max(loops))
	}
	var parts []string
	for _, part := range loops {
		parts = append(parts, fmt.Sprintf("%.0f%%", 100*part))
	}
	return strings.Join(parts, " ")
}

// Summary is the last line.
func (f *Figures) Summary(uptime time.Duration) string {
	return fmt.Sprintf("served %s, %s messages, in %s, out %s, for %v",
		connections(int(f.accepts)), strconv.FormatUint(f.messages, 10),
		report.Bytes(int64(f.bytesIn)), report.Bytes(int64(f.bytesOut)), report.Round(uptime))
}

func connections(n int) string {
	if n == 1 {
		return "1 connection"
	}
	return strconv.Itoa(n) + " connections"
}

// count shortens a number: 1234567 is 1.2M.
func count(n float64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return strconv.Itoa(int(n))
	}
	u := -1
	for n >= 1000 && u < len(units)-1 {
		n /= 1000
		u++
	}
	return fmt.Sprintf("%.1f%c", n, units[u])
}
