// Package resolve looks up the addresses of hosts on goroutines of its own, with Go's
// resolver.
package resolve

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// MaxLookups is the maximum number of concurrent look-ups, each on its own goroutine.
	MaxLookups = 16
	// maxNames bounds the cache; a full one is emptied.
	maxNames = 4096
	// maxAddresses bounds the addresses that are used of one answer.
	maxAddresses = 32
	// How long answers are cached; Go's resolver does not return their TTL.
	keepFound  = time.Minute
	keepFailed = 5 * time.Second
)

// ErrNoAddress: the name exists, but has no address.
var ErrNoAddress = errors.New("the host has no address")

// A Lookup returns a host's addresses, the best first.
type Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// System is Go's resolver with the system's settings. localhost, and the names below
// it, have both loopback addresses (RFC 6761, 6.3), even if the hosts file has only
// one of them: they follow the addresses that the system returns.
func System(ctx context.Context, host string) ([]netip.Addr, error) {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if isLocalhost(host) {
		return withLoopback(addrs), nil
	}
	return addrs, err
}

func isLocalhost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// withLoopback adds the loopback addresses that are not in addrs.
func withLoopback(addrs []netip.Addr) []netip.Addr {
	all := slices.Clone(addrs)
	for _, loopback := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
		if !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Unmap() == loopback }) {
			all = append(all, loopback)
		}
	}
	return all
}

// A Resolver answers on the loop whose Post it was given; Resolve must be called
// there too, so it needs no lock. A name is looked up once at a time, for all calls of
// Resolve that wait for it.
type Resolver struct {
	post    func(func())
	lookup  Lookup
	timeout time.Duration

	cache   map[string]answer
	waiters map[string][]func([]netip.Addr, error)
	queue   []string // names that wait for a goroutine, each once
	running int

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

type answer struct {
	addrs []netip.Addr
	err   error
	until time.Time
}

// New returns a Resolver. A lookup may take up to timeout; zero is no limit.
func New(post func(func()), lookup Lookup, timeout time.Duration) *Resolver {
	ctx, cancel := context.WithCancel(context.Background())
	return &Resolver{
		post: post, lookup: lookup, timeout: timeout,
		cache:   make(map[string]answer),
		waiters: make(map[string][]func([]netip.Addr, error)),
		ctx:     ctx, cancel: cancel,
	}
}

// Resolve calls done with the host's addresses: immediately for a literal address or a
// cached answer, later otherwise.
func (r *Resolver) Resolve(host string, done func([]netip.Addr, error)) {
	if a, err := netip.ParseAddr(host); err == nil {
		done([]netip.Addr{a.Unmap()}, nil)
		return
	}
	if a, ok := r.cache[host]; ok && time.Now().Before(a.until) {
		done(a.addrs, a.err)
		return
	}
	waiters, pending := r.waiters[host]
	r.waiters[host] = append(waiters, done)
	if !pending {
		r.queue = append(r.queue, host)
		r.start()
	}
}

func (r *Resolver) start() {
	for r.running < MaxLookups && len(r.queue) > 0 {
		host := r.queue[0]
		r.queue = r.queue[1:]
		r.running++
		r.wg.Go(func() {
			ctx := r.ctx
			if r.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, r.timeout)
				defer cancel()
			}
			addrs, err := r.lookup(ctx, host)
			r.post(func() { r.finish(host, addrs, err) })
		})
	}
}

func (r *Resolver) finish(host string, addrs []netip.Addr, err error) {
	r.running--
	addrs = slices.Clone(addrs[:min(len(addrs), maxAddresses)])
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	keep := keepFound
	if err == nil && len(addrs) == 0 {
		err = ErrNoAddress
	}
	if err != nil {
		keep = keepFailed
	}
	if len(r.cache) >= maxNames {
		clear(r.cache)
	}
	r.cache[host] = answer{addrs, err, time.Now().Add(keep)}
	waiters := r.waiters[host]
	delete(r.waiters, host)
	for _, done := range waiters {
		done(addrs, err)
	}
	r.start()
}

// Forget drops the cached answer for host, because its addresses do not work.
func (r *Resolver) Forget(host string) { delete(r.cache, host) }

// Close cancels the lookups and waits for their goroutines. It may be called
// from any goroutine after the last call of Resolve.
func (r *Resolver) Close() {
	r.cancel()
	r.wg.Wait()
}
