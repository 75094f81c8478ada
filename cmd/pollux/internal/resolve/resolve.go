// Package resolve finds the addresses of hosts off the waiting goroutine, by Go's
// own resolver.
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
	// MaxLookups is how many lookups run at once, each on a goroutine of its own.
	MaxLookups = 16
	// maxNames bounds the cache; a full one is emptied.
	maxNames = 4096
	// maxAddresses bounds what is kept of one answer.
	maxAddresses = 32
	// Answers are used again this long; Go's resolver does not tell their TTL.
	keepFound  = time.Minute
	keepFailed = 5 * time.Second
)

// ErrNoAddress: the name exists, but no address belongs to it.
var ErrNoAddress = errors.New("the host has no address")

// A Lookup finds a host's addresses, the best first.
type Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// System is Go's resolver with the system's settings. To localhost, and to names below
// it, both loopback addresses belong (RFC 6761, 6.3), also where the hosts file has only
// one of them: they come behind those that the system knows.
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
// there too, so nothing in it is locked. One name is looked up once at a time, for
// all who ask for it.
type Resolver struct {
	post    func(func())
	lookup  Lookup
	timeout time.Duration

	known   map[string]answer
	asked   map[string][]func([]netip.Addr, error)
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

// New returns a Resolver. A lookup may take up to timeout.
func New(post func(func()), lookup Lookup, timeout time.Duration) *Resolver {
	ctx, cancel := context.WithCancel(context.Background())
	return &Resolver{
		post: post, lookup: lookup, timeout: timeout,
		known: make(map[string]answer),
		asked: make(map[string][]func([]netip.Addr, error)),
		ctx:   ctx, cancel: cancel,
	}
}

// Resolve calls done with the host's addresses: at once for a literal address and
// for what is known, later otherwise.
func (r *Resolver) Resolve(host string, done func([]netip.Addr, error)) {
	if a, err := netip.ParseAddr(host); err == nil {
		done([]netip.Addr{a.Unmap()}, nil)
		return
	}
	if a, ok := r.known[host]; ok && time.Now().Before(a.until) {
		done(a.addrs, a.err)
		return
	}
	waiters, under := r.asked[host]
	r.asked[host] = append(waiters, done)
	if !under {
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
			ctx, cancel := context.WithTimeout(r.ctx, r.timeout)
			defer cancel()
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
	if len(r.known) >= maxNames {
		clear(r.known)
	}
	r.known[host] = answer{addrs, err, time.Now().Add(keep)}
	waiters := r.asked[host]
	delete(r.asked, host)
	for _, done := range waiters {
		done(addrs, err)
	}
	r.start()
}

// Forget drops what is known of host, because its addresses do not work.
func (r *Resolver) Forget(host string) { delete(r.known, host) }

// Close cancels the lookups and waits for their goroutines. It may be called
// from any goroutine once Resolve is not called any more.
func (r *Resolver) Close() {
	r.cancel()
	r.wg.Wait()
}
