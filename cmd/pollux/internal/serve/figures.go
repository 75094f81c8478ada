package serve

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/columns"
	"github.com/pollux-io/pollux/cmd/pollux/internal/report"
	"github.com/pollux-io/pollux/loop"
)

// Figures are the totals of a server and its current rates.
type Figures struct {
	at                           time.Time
	conns                        int
	accepts, messages            uint64
	bytesIn, bytesOut, unsent    uint64
	messageRate, inRate, outRate float64   // per second, since the previous figures
	busy                         []float64 // of each loop, 0 to 1
	busyTime                     []time.Duration
}

// A sampler reads the group's figures. A loop that is blocked by a callback does not
// answer: then the sampler keeps its last figures, so that no counter ever decreases.
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
		if now.Partial || now.Turns < last.Turns {
			conns, slow, queued, longest := now.Conns, now.SlowCallbacks, now.Queued, now.LongestCallback
			*now = *last
			now.Conns, now.SlowCallbacks, now.Queued, now.LongestCallback = conns, slow, queued, max(longest, last.LongestCallback)
		}
		*last = *now
	}
	return stats
}

// NoFigures returns the figures, as of now, of a server without any activity.
func (s *Server) NoFigures() *Figures {
	return &Figures{at: time.Now(), busyTime: make([]time.Duration, len(s.group.Loops()))}
}

// Figures returns the current figures; before are the previous ones, or nil.
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

// separator separates the parts of a line.
const separator = ", "

// part is one figure of a line, in its full and its short form.
type part struct{ full, short string }

// parts returns the current figures, the most important first.
func (f *Figures) parts() []part {
	most := 0.0
	if len(f.busy) > 0 {
		most = slices.Max(f.busy)
	}
	return []part{
		{connections(f.conns), count(float64(f.conns)) + " conns"},
		{fmt.Sprintf("%s messages (%s/s)", count(float64(f.messages)), count(f.messageRate)), count(f.messageRate) + " msg/s"},
		{"queued " + report.Bytes(int64(f.unsent)), "queued " + shortBytes(float64(f.unsent))},
		{"busy " + busy(f.busy), fmt.Sprintf("busy %.0f%%", 100*most)},
		{traffic("in", f.bytesIn, f.inRate), "in " + shortBytes(f.inRate) + "/s"},
		{traffic("out", f.bytesOut, f.outRate), "out " + shortBytes(f.outRate) + "/s"},
	}
}

func traffic(way string, bytes uint64, rate float64) string {
	return fmt.Sprintf("%s %s (%s/s)", way, report.Bytes(int64(bytes)), report.Bytes(int64(rate)))
}

// shortBytes formats 1.2 MiB as 1.2M, with at most three digits.
func shortBytes(n float64) string {
	const units = "BKMGTPE"
	u := 0
	for n >= 999.5 && u < len(units)-1 {
		n /= 1024
		u++
	}
	if u > 0 && n < 9.95 {
		return fmt.Sprintf("%.1f%c", n, units[u])
	}
	return fmt.Sprintf("%.0f%c", n, units[u])
}

// Line returns the current figures as one line, in full form.
func (f *Figures) Line() string {
	var all []string
	for _, p := range f.parts() {
		all = append(all, p.full)
	}
	return strings.Join(all, separator)
}

// Fit returns the line in at most width columns: as many of the first parts as fit in short
// form, and of these as many as fit in full form.
func (f *Figures) Fit(width int) string {
	parts := f.parts()
	left := width
	var shown []string
	for i, p := range parts {
		need := columns.Width(p.short)
		if i > 0 {
			need += len(separator)
		}
		if need > left {
			break
		}
		left -= need
		shown = append(shown, p.short)
	}
	if shown == nil {
		return columns.Cut(parts[0].short, width)
	}
	for i := range shown {
		if more := columns.Width(parts[i].full) - columns.Width(parts[i].short); more <= left {
			left -= more
			shown[i] = parts[i].full
		}
	}
	return strings.Join(shown, separator)
}

// maxBusyShown is for how many loops a line has each figure; for more it has the range.
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

// Summary returns the last line of a run.
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

// count formats 1234567 as 1.2M.
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
