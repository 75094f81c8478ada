package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/internal/wheel"
)

// A server is what an exchanger knows of one server, and has open to it.
type server struct {
	x          *exchanger
	addr       netip.AddrPort
	overUDP    Path // the path of its answers
	overTCP    Path
	listed     bool         // in x.servers
	sockets    []*udpSocket // for new queries; nil where none is open
	sources    []netip.Addr // of the server's family, for sockets in turn
	nextSource int
	stream     *stream // for new queries
	open       int     // sockets and streams, including those that take no new queries
	alone      int     // sockets of sendAlone: at most maxAlone
	inFlight   int     // transmissions of current attempts

	health
	quirks
	queue
	serverCounters
}

// serverCounters are read from any goroutine, and written by the loop.
type serverCounters struct {
	sent, answered, timedOut     atomic.Uint64
	nowInFlight, nowQueued       atomic.Int64
	meanRTT                      atomic.Int64 // nanoseconds; 0: nothing is known
	isFailing, noEDNS, losesCase atomic.Bool
}

func newServer(x *exchanger, addr netip.AddrPort) *server {
	s := &server{
		x: x, addr: addr,
		overUDP: Path(fmt.Sprintf("evented %v %s", addr, transport(false))),
		overTCP: Path(fmt.Sprintf("evented %v %s", addr, transport(true))),
	}
	for _, a := range x.limits.sources {
		if a.Unmap().Is4() == addr.Addr().Unmap().Is4() {
			s.sources = append(s.sources, a)
		}
	}
	s.alarm.Fire = func(*wheel.Timer) { s.admitQueued() }
	return s
}

// A route has the servers of the last policy that was used.
type route struct {
	policy  *policy
	servers []*server // immutable
}

// serversOf returns the servers of a policy, in its order.
func (x *exchanger) serversOf(p *policy) []*server {
	if x.route.policy == p {
		return x.route.servers
	}
	r := route{policy: p, servers: make([]*server, len(p.servers))}
	for i, addr := range p.servers {
		at := slices.IndexFunc(x.servers, func(s *server) bool { return s.addr == addr })
		if at >= 0 {
			r.servers[i] = x.servers[at]
			continue
		}
		r.servers[i] = newServer(x, addr)
		x.list(r.servers[i])
	}
	x.route = r
	x.forgetServers()
	return r.servers
}

// list makes sure that close, and Resolver.ServerStats, find s.
func (x *exchanger) list(s *server) {
	if s.listed {
		return
	}
	s.listed = true
	x.mu.Lock()
	x.servers = append(x.servers, s)
	x.mu.Unlock()
	if s.failing {
		x.failing++
	}
}

// forgetServers forgets the servers that are not on the route, unless something is open to them or waits for
// them: a change of servers leaves nothing behind for longer than socketAge. A query in progress may still
// use one: then it is listed again.
func (x *exchanger) forgetServers() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.servers = slices.DeleteFunc(x.servers, func(s *server) bool {
		if s.open > 0 || s.queued() > 0 || slices.Contains(x.route.servers, s) {
			return false
		}
		s.listed = false
		if s.failing {
			x.failing--
		}
		return true
	})
}

// opened and released count the sockets and streams.
func (s *server) opened() {
	s.open++
	s.x.list(s)
}

func (s *server) released() {
	s.open--
	if !slices.Contains(s.x.route.servers, s) {
		s.x.forgetServers()
	}
}

func (s *server) close() {
	s.x.stopAlarm(&s.alarm)
	for _, u := range s.sockets {
		if u != nil {
			u.retire()
		}
	}
	if s.stream != nil {
		s.stream.abort(ErrClosed)
	}
}

// attached and detached count the transmissions in flight.
func (s *server) attached() {
	s.inFlight++
	s.nowInFlight.Store(int64(s.inFlight))
}

func (s *server) detached() {
	s.inFlight--
	s.nowInFlight.Store(int64(s.inFlight))
	if s.queued() > 0 {
		s.admitSoon()
	}
}

// ServerStats is what the loops of a Resolver know of one DNS server, and the counters of its queries. A server
// that is not configured any more is forgotten.
type ServerStats struct {
	Addr netip.AddrPort
	// Sent counts the messages sent, Answered those that the server has answered, if only with an error, and
	// TimedOut the attempts without a response in time.
	Sent, Answered, TimedOut uint64
	// InFlight is how many messages wait for a response, and Queued how many lookups wait because of
	// Config.MaxQueriesPerServer or MaxRatePerServer.
	InFlight, Queued int
	// MeanRTT is the moving average of the time from a query to its response; 0 before the first one.
	MeanRTT time.Duration
	// Failing: the server does not respond. It is asked after the others, and tested every 30 s.
	Failing bool
	// NoEDNS: the server does not understand EDNS (RFC 6891). LosesCase: it does not repeat the case of names, so
	// it is asked over TCP. Both are assumed for 15 min, and then tested again.
	NoEDNS, LosesCase bool
}

// ServerStats returns an element for each DNS server, the sum over all loops, in the order of their addresses.
// It may be called from anywhere, and does not wait.
func (r *Resolver) ServerStats() []ServerStats {
	r.mu.Lock()
	exchangers := make([]*exchanger, 0, len(r.exchangers))
	for _, x := range r.exchangers {
		exchangers = append(exchangers, x)
	}
	r.mu.Unlock()
	sum := map[netip.AddrPort]*ServerStats{}
	for _, x := range exchangers {
		x.addServerStats(sum)
	}
	all := make([]ServerStats, 0, len(sum))
	for _, s := range sum {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b ServerStats) int { return a.Addr.Compare(b.Addr) })
	return all
}

// addServerStats adds what the exchanger knows. It may be called from any goroutine.
func (x *exchanger) addServerStats(sum map[netip.AddrPort]*ServerStats) {
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
