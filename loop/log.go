package loop

import (
	"log/slog"

	"github.com/pollux-io/pollux/internal/loglimit"
)

// logs has a limiter for each kind of line of a group. Each listener and UDP socket has its own
// limiter, with a burst of one.
type logs struct {
	panics, slow, attaching, layers, stalled loglimit.Limiter
}

func newLogs(to *slog.Logger) *logs {
	of := func(what string, burst int) loglimit.Limiter {
		return loglimit.Limiter{To: to, What: what, Burst: burst}
	}
	return &logs{
		panics: of("panics", loglimit.Burst), slow: of("slow callbacks", loglimit.Burst),
		attaching: of("connections that could not be attached", loglimit.Burst),
		layers:    of("connections that ended before their handshake", loglimit.Burst),
		// The remedy in one line applies to all of them.
		stalled: of("stalled connections", 1),
	}
}

// flush logs the numbers of suppressed lines that no other line has reported.
func (s *logs) flush() {
	for _, l := range []*loglimit.Limiter{&s.panics, &s.slow, &s.attaching, &s.layers, &s.stalled} {
		l.Flush()
	}
}
