package dns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/internal/addrorder"
	"github.com/pollux-io/pollux/internal/dnscache"
	"github.com/pollux-io/pollux/internal/dnsconf"
	"github.com/pollux-io/pollux/internal/exchange"
	"github.com/pollux-io/pollux/internal/flight"
	"github.com/pollux-io/pollux/internal/offload"
	"github.com/pollux-io/pollux/internal/sysresolver"
	"github.com/pollux-io/pollux/loop"
)

// A Resolver resolves names. Its methods may be called from any goroutine. Only Lookup, LookupType and Close
// wait, and return loop.ErrOnLoop where they would wait for the loop that they are called on. Use New.
type Resolver struct {
	config  Config
	start   time.Time
	source  *dnsconf.Source
	flights *flight.Group[dnscache.Key, *result]
	results *dnscache.Cache[*result] // by the name asked for, and its type
	known   *dnscache.Cache[*known]  // by the text of the name, and the type
	pool    *offload.Pool
	turns   atomic.Uint32 // of the loops of a group
	counts  counts

	lookupHost sysresolver.Lookup // of the pool
	poolPath   Path               // of its answers
	sorter     addrorder.Sorter

	latest atomic.Pointer[view]

	closing  chan struct{}  // closed by Close
	watchers sync.WaitGroup // goroutines of watch

	mu         sync.Mutex // guards up to the end
	exchangers map[*loop.Loop]*exchange.Exchanger
	gone       exchange.Traffic // of exchangers whose loops have ended
	own        *loop.Group      // without Config.Group
	closed     bool
}

// A view is a snapshot of the configuration files, and what follows from it.
type view struct {
	*dnsconf.Snapshot
	hostsFirst bool // the hosts file has names, and precedes DNS
	policy     exchange.Policy
}

// New returns a Resolver, whose caller must Close it. It reads the configuration files, which may
// block as file systems do; files that do not exist, or have errors, have their defaults. The error wraps
// pollux.ErrBadArgument.
func New(c Config) (*Resolver, error) {
	if err := c.applyDefaults(); err != nil {
		return nil, err
	}
	c.Servers, c.SourceAddrs = slices.Clone(c.Servers), slices.Clone(c.SourceAddrs)
	limits := dnscache.Config{
		MaxEntries: max(c.CacheEntries, 0), MaxBytes: c.CacheBytes / 2,
		MaxTTL: max(c.MaxTTL, 0), MaxNegativeTTL: max(c.MaxNegativeTTL, 0), MaxStale: max(c.MaxStale, 0),
	}
	fresh := limits
	fresh.MaxStale, fresh.IgnoreMisses = 0, true
	r := &Resolver{
		config: c, start: time.Now(),
		source:  dnsconf.Open(dnsconf.Config{Paths: dnsconf.Paths{Resolv: c.ResolvConf, NSSwitch: c.NSSwitch, Hosts: c.Hosts}}),
		flights: flight.New[dnscache.Key, *result](flight.Limits{Flights: c.MaxInFlight, Waiters: c.MaxInFlight}),
		results: dnscache.New[*result](limits), known: dnscache.New[*known](fresh),
		pool:       offload.New(c.PoolWorkers, c.PoolQueue),
		exchangers: map[*loop.Loop]*exchange.Exchanger{}, closing: make(chan struct{}),
	}
	r.poolPath = PathPool
	var addrInfoEx bool
	if r.lookupHost, addrInfoEx = sysresolver.System(); addrInfoEx {
		r.poolPath = PathAddrInfoEx
	}
	return r, nil
}

// now is the time on the clock of the caches.
func (r *Resolver) now() time.Duration { return time.Since(r.start) }

// view returns the current configuration. It does not block.
func (r *Resolver) view(now time.Duration) *view {
	s := r.source.Snapshot(now)
	if v := r.latest.Load(); v != nil && v.Snapshot == s {
		return v
	}
	v := &view{s, s.Hosts.Len() > 0 && r.usesHosts(s), exchange.Policy{
		Servers: s.Resolv.Servers, Timeout: s.Resolv.Timeout, Attempts: s.Resolv.Attempts,
		Rotate: s.Resolv.Rotate, TCP: s.Resolv.UseTCP, TrustAD: s.Resolv.TrustAD,
	}}
	if len(r.config.Servers) > 0 {
		v.policy.Servers = r.config.Servers
	}
	if r.config.Timeout > 0 {
		v.policy.Timeout = r.config.Timeout
	}
	if r.config.Attempts > 0 {
		v.policy.Attempts = r.config.Attempts
	}
	v.policy.Servers = reachable(v.policy.Servers)
	r.latest.Store(v)
	return v
}

// reachable returns servers with the loopback address in place of an unspecified one, which stands for this machine
// (resolv.conf(5)): the system connects to the loopback then, and its responses have that address.
func reachable(servers []netip.AddrPort) []netip.AddrPort {
	servers = slices.Clone(servers)
	for i, s := range servers {
		switch s.Addr().Unmap() {
		case netip.IPv4Unspecified():
			servers[i] = netip.AddrPortFrom(loopback[0], s.Port())
		case netip.IPv6Unspecified():
			servers[i] = netip.AddrPortFrom(loopback[1], s.Port())
		}
	}
	return servers
}

// Config returns the configuration in force, including defaults. Servers, Timeout and Attempts that it leaves to
// resolv.conf are zero: those that apply now are in the Plan of Explain.
func (r *Resolver) Config() Config {
	c := r.config
	c.Servers, c.SourceAddrs = slices.Clone(c.Servers), slices.Clone(c.SourceAddrs)
	return c
}

// Warnings returns what is wrong with the configuration files, and what of them is not honored: each with the file
// and, if it concerns one, the line. That there is no nsswitch.conf or hosts file is not reported. It does not block.
func (r *Resolver) Warnings() []error {
	s := r.view(r.now()).Snapshot
	var all []error
	for i, err := range []error{s.ResolvErr, s.NSSwitchErr, s.HostsErr} {
		if missing := errors.Is(err, fs.ErrNotExist); err != nil && (!missing || i == 0 && len(r.config.Servers) == 0) {
			all = append(all, err)
		}
	}
	for i := range s.Warnings {
		all = append(all, &s.Warnings[i])
	}
	return all
}

// Flush forgets all cached answers, such as after a change of networks. Those of queries in flight are
// cached all the same.
func (r *Resolver) Flush() {
	r.results.Flush()
	r.known.Flush()
}

// Close ends all lookups, with ErrClosed, and releases what the resolver has: its own group before it returns,
// and sockets on other loops as soon as those process that. More calls do nothing. Close waits for
// functions of the pool. In a callback of a loop that the resolver uses it returns loop.ErrOnLoop and has no effect:
// call it in another goroutine.
func (r *Resolver) Close() error {
	if r.onLoop() {
		return fmt.Errorf("dns: close: %w", loop.ErrOnLoop)
	}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	own := r.own
	exchangers := maps.Clone(r.exchangers)
	r.mu.Unlock()
	close(r.closing)
	r.watchers.Wait()
	r.flights.Close(ErrClosed)
	for l, x := range exchangers {
		closeOn(l, x)
	}
	r.pool.Stop()
	r.source.Close()
	r.sorter.Close()
	if own == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	_ = own.Shutdown(ctx) // a connection that was cut off had been idle
	return nil
}

// shutdownTimeout is how long Close waits for servers to close idle connections.
const shutdownTimeout = time.Second
