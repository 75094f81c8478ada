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

	"github.com/pollux-io/pollux/internal/dnscache"
	"github.com/pollux-io/pollux/internal/dnsconf"
	"github.com/pollux-io/pollux/internal/flight"
	"github.com/pollux-io/pollux/internal/misuse"
	"github.com/pollux-io/pollux/internal/offload"
	"github.com/pollux-io/pollux/loop"
)

// A Strategy is how names are resolved that are not known inline.
type Strategy uint8

// Strategies.
const (
	// Auto is Evented where that gives the answers of the system's resolver, and Pool elsewhere.
	Auto Strategy = iota
	// Inline asks nobody: what is neither an address nor localhost, nor in the hosts file, is ErrNotInline. A
	// Resolver with another strategy answers in this way by LookupInline, which has its cache, too.
	Inline
	// Evented asks DNS servers on a loop, whatever nsswitch.conf demands.
	Evented
	// Pool asks the system's resolver, which has the hosts file, too. It resolves addresses only; other
	// types are Evented.
	Pool
)

// Config configures a Resolver. The zero Config is valid; each zero field means its default, which ends
// the field's comment.
type Config struct {
	Strategy Strategy // Auto
	// Group has the loops for lookups that wait: Lookup and LookupType. By default the resolver starts a
	// group of one loop at the first one.
	Group *loop.Group
	// Servers are asked instead of those of resolv.conf; with Auto, they make every lookup Evented.
	Servers []netip.AddrPort
	// ResolvConf, NSSwitch and Hosts are the paths of the configuration files, which are read again when
	// they change, within 5 s of a lookup. Those of the system.
	ResolvConf, NSSwitch, Hosts string

	// Timeout is that of one attempt at one server, and Attempts how often each server is asked. Those of
	// resolv.conf: 5 s and 2.
	Timeout  time.Duration
	Attempts int

	// CacheEntries and CacheBytes limit the cache. A negative number of entries disables it. 10,000 and 16 MiB.
	CacheEntries, CacheBytes int
	// MaxTTL and MaxNegativeTTL limit how long answers are cached, and MaxStale how long one
	// is kept after that, in case no server answers. Negative: not at all. A day, 3 h and a day.
	MaxTTL, MaxNegativeTTL, MaxStale time.Duration

	// PoolWorkers is the maximum number of goroutines of the pool, and PoolQueue of lookups that wait for
	// one. A goroutine holds a thread while it waits for the system, except with PathAddrInfoEx, where a process has
	// at most 256 requests at a time. 64 and 4,096.
	PoolWorkers, PoolQueue int
	// MaxInFlight is the maximum number of queries and lookups in progress at a time. 10,000.
	MaxInFlight int

	// SourceAddrs are the local addresses that queries are sent from, in turn: those of the family of the server.
	// Without one the system chooses.
	SourceAddrs []netip.Addr
	// SocketsPerServer is the number of UDP sockets, each on a random port, among which each query to a server
	// chooses at random, at least: each source address has one, and there is one for each 128 queries in flight.
	// From 1 to 1,024. 4.
	SocketsPerServer int
	// MaxQueriesPerServer is how many queries may wait for a response of one server, and MaxRatePerServer how many
	// attempts at one may begin in a second, on the average. More wait until they may, which does not count for
	// Timeout. Both are divided between the loops of a group. Unlimited.
	MaxQueriesPerServer, MaxRatePerServer int
}

func (c *Config) applyDefaults() error {
	switch {
	case c.Strategy > Pool:
		return fmt.Errorf("dns: %w: Strategy %d is unknown", misuse.ErrBadArgument, c.Strategy)
	case c.Timeout < 0 || c.Attempts < 0 || c.CacheBytes < 0 || c.PoolWorkers < 0 || c.PoolQueue < 0 || c.MaxInFlight < 0:
		return fmt.Errorf("dns: %w: a number or time of Config is negative", misuse.ErrBadArgument)
	}
	for _, s := range c.Servers {
		if !s.IsValid() || s.Port() == 0 {
			return fmt.Errorf("dns: %w: Servers has %v, which is not an address with a port", misuse.ErrBadArgument, s)
		}
	}
	if err := c.checkLimits(); err != nil {
		return err
	}
	paths := dnsconf.DefaultPaths()
	setDefault(&c.ResolvConf, paths.Resolv)
	setDefault(&c.NSSwitch, paths.NSSwitch)
	setDefault(&c.Hosts, paths.Hosts)
	setDefault(&c.CacheEntries, 10_000)
	setDefault(&c.CacheBytes, 16<<20)
	setDefault(&c.MaxTTL, 24*time.Hour)
	setDefault(&c.MaxNegativeTTL, 3*time.Hour)
	setDefault(&c.MaxStale, 24*time.Hour)
	setDefault(&c.PoolWorkers, 64)
	setDefault(&c.PoolQueue, 4096)
	setDefault(&c.MaxInFlight, maxQueries)
	setDefault(&c.SocketsPerServer, socketsPerServer)
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

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

	lookupHost hostLookup // of the pool
	poolPath   Path       // of its answers
	probes     probes

	latest atomic.Pointer[view]

	closing  chan struct{}  // closed by Close
	watchers sync.WaitGroup // goroutines of watch

	mu         sync.Mutex // guards up to the end
	exchangers map[*loop.Loop]*exchanger
	gone       traffic     // of exchangers whose loops have ended
	own        *loop.Group // without Config.Group
	closed     bool
}

// A view is a snapshot of the configuration files, and what follows from it.
type view struct {
	*dnsconf.Snapshot
	hostsFirst bool // the hosts file has names, and precedes DNS
	policy     policy
}

// New returns a Resolver, whose caller must Close it. It reads the configuration files, which may
// block as file systems do; files that do not exist, or have errors, have their defaults. The error wraps
// pollux.ErrBadArgument.
func New(c Config) (*Resolver, error) {
	if err := c.applyDefaults(); err != nil {
		return nil, err
	}
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
		exchangers: map[*loop.Loop]*exchanger{}, closing: make(chan struct{}),
	}
	r.lookupHost, r.poolPath = systemLookup()
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
	v := &view{s, s.Hosts.Len() > 0 && r.usesHosts(s), policy{
		servers: s.Resolv.Servers, timeout: s.Resolv.Timeout, attempts: s.Resolv.Attempts,
		rotate: s.Resolv.Rotate, tcp: s.Resolv.UseTCP, trustAD: s.Resolv.TrustAD,
	}}
	if len(r.config.Servers) > 0 {
		v.policy.servers = r.config.Servers
	}
	if r.config.Timeout > 0 {
		v.policy.timeout = r.config.Timeout
	}
	if r.config.Attempts > 0 {
		v.policy.attempts = r.config.Attempts
	}
	r.latest.Store(v)
	return v
}

// Config returns the configuration in force, including defaults. Servers, Timeout and Attempts that it leaves to
// resolv.conf are zero: those that apply now are in the Plan of Explain.
func (r *Resolver) Config() Config {
	c := r.config
	c.Servers = slices.Clone(c.Servers)
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
	r.probes.close()
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
