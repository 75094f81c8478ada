package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/pollux-io/pollux/internal/dnscache"
	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/flight"
	"github.com/pollux-io/pollux/internal/offload"
)

// A poolJob is a lookup by the system's resolver.
type poolJob struct {
	r      *Resolver
	ctx    context.Context
	name   string
	flight *flight.Flight[dnscache.Key, *result]
	addrs  []netip.Addr
	err    error
}

var _ offload.Job = (*poolJob)(nil)

// A hostLookup looks up the addresses of a name as the system does. It returns soon after ctx ends. Its error
// is a *net.DNSError with IsNotFound if the name does not exist, and wraps ErrNoData if the name has no
// addresses and the system distinguishes that.
type hostLookup func(ctx context.Context, name string) ([]netip.Addr, error)

// netLookup is the hostLookup of package net, which holds a thread while getaddrinfo(3) runs.
func netLookup(ctx context.Context, name string) ([]netip.Addr, error) {
	found, err := (&net.Resolver{}).LookupIPAddr(ctx, name) // LookupNetIP drops zones
	addrs := make([]netip.Addr, 0, len(found))
	for _, a := range found {
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			addrs = append(addrs, addr.Unmap().WithZone(a.Zone))
		}
	}
	return addrs, err
}

// startPool starts a lookup by the pool. Stopping it makes the hostLookup return at once; a thread
// in getaddrinfo(3) goes on, as nothing can end that.
func (r *Resolver) startPool(name string) flight.Start[dnscache.Key, *result] {
	return func(f *flight.Flight[dnscache.Key, *result]) (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		if err := r.pool.Submit(&poolJob{r: r, ctx: ctx, name: name, flight: f}); err != nil {
			cancel()
			f.Finish(&result{path: r.poolPath}, poolError(err))
		}
		return cancel
	}
}

// poolError returns why the pool does not take a job.
func poolError(err error) error {
	switch {
	case errors.Is(err, offload.ErrStopped):
		return ErrClosed
	case errors.Is(err, offload.ErrFull):
		return fmt.Errorf("%w, or raise PoolWorkers or PoolQueue", ErrBusy)
	}
	return err
}

func (j *poolJob) Reserve() error { return nil }

func (j *poolJob) Run() { j.addrs, j.err = j.r.lookupHost(j.ctx, j.name) }

func (j *poolJob) Finish(returned bool, recovered any) {
	res := &result{path: j.r.poolPath, addrs: j.addrs}
	if !returned {
		j.err = fmt.Errorf("the system's resolver panicked: %v", recovered)
	}
	if e, ok := errors.AsType[*net.DNSError](j.err); ok && e.IsNotFound {
		res.kind, j.err = dnswire.NXDomain, nil // package net does not distinguish NXDOMAIN from NODATA
	}
	if errors.Is(j.err, ErrNoData) {
		res.kind, j.err = dnswire.NoData, nil
	}
	j.flight.Finish(res, j.err)
}
