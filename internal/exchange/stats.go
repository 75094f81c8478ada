package exchange

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// counters are read from any goroutine.
type counters struct {
	sentUDP, sentTCP atomic.Uint64
	// dropped counts the messages that respond to no transmission: late, duplicate or forged.
	dropped atomic.Uint64
}

// Traffic is what an exchanger has sent and dropped.
type Traffic struct {
	SentUDP, SentTCP uint64 // queries, all attempts included
	Dropped          uint64 // messages that respond to no query in flight
}

// Add adds u to t.
func (t *Traffic) Add(u Traffic) {
	t.SentUDP += u.SentUDP
	t.SentTCP += u.SentTCP
	t.Dropped += u.Dropped
}

// Traffic returns the counters. It may be called from any goroutine.
func (x *Exchanger) Traffic() Traffic {
	return Traffic{x.sentUDP.Load(), x.sentTCP.Load(), x.dropped.Load()}
}

// serverCounters are read from any goroutine, and written by the loop.
type serverCounters struct {
	sent, answered, timedOut     atomic.Uint64
	nowInFlight, nowQueued       atomic.Int64
	meanRTT                      atomic.Int64 // nanoseconds; 0: nothing is known
	isFailing, noEDNS, losesCase atomic.Bool
}

// ServerStats is what exchangers know of one server, and the counters of its queries. dns.ServerStats documents the
// fields.
type ServerStats struct {
	Addr                     netip.AddrPort
	Sent, Answered, TimedOut uint64
	InFlight, Queued         int
	MeanRTT                  time.Duration
	Failing                  bool
	NoEDNS, LosesCase        bool
}

// AddServerStats adds what the exchanger knows of each server to sum. It may be called from any goroutine.
func (x *Exchanger) AddServerStats(sum map[netip.AddrPort]*ServerStats) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.servers {
		t := sum[s.addr]
		if t == nil {
			t = &ServerStats{Addr: s.addr}
			sum[s.addr] = t
		}
		rtt := time.Duration(s.meanRTT.Load())
		if answered := s.answered.Load(); answered > 0 { // weighted by the answers of each loop
			total := float64(t.Answered + answered)
			t.MeanRTT += time.Duration(float64(rtt-t.MeanRTT) * float64(answered) / total)
			t.Answered += answered
		}
		t.Sent += s.sent.Load()
		t.TimedOut += s.timedOut.Load()
		t.InFlight += int(s.nowInFlight.Load())
		t.Queued += int(s.nowQueued.Load())
		t.Failing = t.Failing || s.isFailing.Load()
		t.NoEDNS = t.NoEDNS || s.noEDNS.Load()
		t.LosesCase = t.LosesCase || s.losesCase.Load()
	}
}
