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
	"github.com/pollux-io/pollux/internal/sysresolver"
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

// startPool starts a lookup by the pool. Stopping it makes its function return at once; a thread
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
	if errors.Is(j.err, sysresolver.ErrNoData) {
		res.kind, j.err = dnswire.NoData, nil
	}
	j.flight.Finish(res, j.err)
}
