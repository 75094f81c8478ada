package exchange

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/pollux-io/pollux/internal/wheel"
)

// A server is what an exchanger knows of one server, and has open to it.
type server struct {
	x          *Exchanger
	addr       netip.AddrPort
	overUDP    string // Reply.Path of its answers
	overTCP    string
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

func newServer(x *Exchanger, addr netip.AddrPort) *server {
	s := &server{
		x: x, addr: addr,
		overUDP: fmt.Sprintf("evented %v %s", addr, transport(false)),
		overTCP: fmt.Sprintf("evented %v %s", addr, transport(true)),
	}
	for _, a := range x.limits.Sources {
		if a.Unmap().Is4() == addr.Addr().Unmap().Is4() {
			s.sources = append(s.sources, a)
		}
	}
	s.alarm.Fire = func(*wheel.Timer) { s.admitQueued() }
	return s
}

// A route has the servers of the last policy that was used.
type route struct {
	policy  *Policy
	servers []*server // immutable
}

// serversOf returns the servers of a policy, in its order.
func (x *Exchanger) serversOf(p *Policy) []*server {
	if x.route.policy == p {
		return x.route.servers
	}
	r := route{policy: p, servers: make([]*server, len(p.Servers))}
	for i, addr := range p.Servers {
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

// list makes sure that Close and AddServerStats find s.
func (x *Exchanger) list(s *server) {
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
func (x *Exchanger) forgetServers() {
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
		s.stream.abort(net.ErrClosed)
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
