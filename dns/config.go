package dns

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/pollux-io/pollux/internal/dnsconf"
	"github.com/pollux-io/pollux/internal/exchange"
	"github.com/pollux-io/pollux/internal/misuse"
	"github.com/pollux-io/pollux/loop"
)

// A Strategy is how names are resolved that are not known inline.
type Strategy uint8

// Strategies.
const (
	// Auto is Evented where that gives the answers of the system's resolver, and Pool elsewhere.
	Auto Strategy = iota
	// Inline sends no queries: what is neither an address nor localhost, nor in the hosts file, is ErrNotInline. A
	// Resolver with another strategy answers in this way by LookupInline, which has its cache, too.
	Inline
	// Evented asks DNS servers on a loop, whatever nsswitch.conf demands.
	Evented
	// Pool asks the system's resolver, which has the hosts file, too. It resolves addresses only; other
	// types are Evented.
	Pool
)

// Config configures a Resolver. The zero Config is valid; each zero field means its default, which ends
// the field's comment. New copies the slices.
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
	case c.Timeout < 0:
		return fmt.Errorf("dns: %w: Timeout is negative: %v", misuse.ErrBadArgument, c.Timeout)
	}
	for _, f := range []struct {
		name string
		n    int
	}{
		{"Attempts", c.Attempts},
		{"CacheBytes", c.CacheBytes},
		{"PoolWorkers", c.PoolWorkers},
		{"PoolQueue", c.PoolQueue},
		{"MaxInFlight", c.MaxInFlight},
		{"MaxQueriesPerServer", c.MaxQueriesPerServer},
		{"MaxRatePerServer", c.MaxRatePerServer},
	} {
		if f.n < 0 {
			return fmt.Errorf("dns: %w: %s is negative: %d", misuse.ErrBadArgument, f.name, f.n)
		}
	}
	for i, s := range c.Servers {
		if !s.IsValid() || s.Port() == 0 {
			return fmt.Errorf("dns: %w: Servers[%d] is %v, not an address with a port", misuse.ErrBadArgument, i, s)
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
	setDefault(&c.MaxInFlight, exchange.DefaultQueries)
	setDefault(&c.SocketsPerServer, exchange.DefaultSockets)
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// maxSockets is the range of Config.SocketsPerServer.
const maxSockets = 1024

// checkLimits returns an error that wraps ErrBadArgument if a field is out of its range.
func (c *Config) checkLimits() error {
	switch {
	case c.SocketsPerServer < 0 || c.SocketsPerServer > maxSockets:
		return fmt.Errorf("dns: %w: SocketsPerServer is %d, not in the range from 1 to %d", misuse.ErrBadArgument, c.SocketsPerServer, maxSockets)
	case len(c.SourceAddrs) > maxSockets:
		return fmt.Errorf("dns: %w: SourceAddrs has %d addresses, more than %d", misuse.ErrBadArgument, len(c.SourceAddrs), maxSockets)
	}
	for i, a := range c.SourceAddrs {
		if !a.IsValid() || a.IsMulticast() {
			return fmt.Errorf("dns: %w: SourceAddrs[%d] is %v, not an address of a host", misuse.ErrBadArgument, i, a)
		}
	}
	return nil
}

// limitsOf returns the limits of the exchanger of one of so many loops.
func (c *Config) limitsOf(loops int) exchange.Limits {
	l := exchange.Limits{Queries: c.MaxInFlight, Sockets: c.SocketsPerServer, Sources: c.SourceAddrs}
	if c.MaxQueriesPerServer > 0 {
		l.PerServer = max(c.MaxQueriesPerServer/loops, 1)
	}
	if c.MaxRatePerServer > 0 {
		l.Interval = time.Second * time.Duration(loops) / time.Duration(c.MaxRatePerServer)
	}
	return l
}
