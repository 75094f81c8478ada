package sysresolver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// maxAddrInfos is the maximum number of requests that the system has at a time, those included that have
// been canceled but have not completed. Further lookups wait.
const maxAddrInfos = 256

// addrInfoAttempts is how often a lookup is tried that the system wants to be tried again, as package net
// does.
const addrInfoAttempts = 2

// System returns the lookup of this system, and whether it is that of GetAddrInfoExW, which not all systems
// have.
func System() (lookup Lookup, addrInfoEx bool) {
	if !sys.HasAddrInfoEx() {
		return netLookup, false
	}
	return systemAddrInfos.lookup, true
}

// addrInfos are requests of GetAddrInfoExW. A goroutine that waits for one holds no thread.
type addrInfos struct {
	free       chan *addrInfo
	byID       map[uintptr]*addrInfo // not changed once made
	completion func() uintptr        // the address of the completion routine
}

// An addrInfo is memory for a request. It is used again when both its lookup and its completion have
// released it: the lookup may leave first, and the system writes into it until the completion.
type addrInfo struct {
	request sys.AddrInfoRequest
	calls   addrInfoCalls
	users   atomic.Int32
	ended   chan addrInfoResult // has capacity for the only result
}

// addrInfoCalls are the calls of the system for a request: *sys.AddrInfoRequest, which has their contracts.
type addrInfoCalls interface {
	Prepare(name string) syscall.Errno
	Start(completion uintptr) (pending bool, e syscall.Errno)
	Cancel()
	Take() []netip.Addr
	ID() uintptr
}

type addrInfoResult struct {
	addrs []netip.Addr
	errno syscall.Errno
}

var (
	addrInfoMemory [maxAddrInfos]addrInfo
	// systemAddrInfos is made with the package: a channel that is made in a bubble of testing/synctest must not
	// be used by the system's threads, which are outside.
	systemAddrInfos = newAddrInfos(addrInfoMemory[:], func(q *addrInfo) addrInfoCalls { return &q.request })
)

func newAddrInfos(memory []addrInfo, calls func(*addrInfo) addrInfoCalls) *addrInfos {
	s := &addrInfos{free: make(chan *addrInfo, len(memory)), byID: make(map[uintptr]*addrInfo, len(memory))}
	for i := range memory {
		q := &memory[i]
		q.calls, q.ended = calls(q), make(chan addrInfoResult, 1)
		s.byID[q.calls.ID()] = q
		s.free <- q
	}
	// One callback serves all requests: the number of callbacks of a process is limited, and none is released.
	s.completion = sync.OnceValue(func() uintptr {
		return syscall.NewCallback(func(errno, _, id uintptr) uintptr {
			s.complete(id, syscall.Errno(uint32(errno)))
			return 0
		})
	})
	return s
}

// lookup is a Lookup.
func (s *addrInfos) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	if name == "" { // the system would return its own addresses
		return nil, addrInfoError(name, sys.WSAHOST_NOT_FOUND)
	}
	for n := 1; ; n++ {
		res, err := s.ask(ctx, name)
		switch {
		case err != nil:
			return nil, err
		case res.errno == 0 && len(res.addrs) == 0:
			return nil, addrInfoError(name, sys.WSANO_DATA)
		case res.errno == 0:
			return res.addrs, nil
		case !triesAgain(res.errno) || n >= addrInfoAttempts:
			return nil, addrInfoError(name, res.errno)
		}
	}
}

// ask makes one request. The error is that of ctx.
func (s *addrInfos) ask(ctx context.Context, name string) (addrInfoResult, error) {
	var q *addrInfo
	select {
	case q = <-s.free:
	case <-ctx.Done():
		return addrInfoResult{}, context.Cause(ctx)
	}
	if e := q.calls.Prepare(name); e != 0 {
		s.free <- q
		return addrInfoResult{errno: e}, nil
	}
	q.users.Store(2) // this call, and the completion
	defer s.release(q)
	pending, e := q.calls.Start(s.completion())
	if !pending {
		q.users.Add(-1) // there is no completion
		return addrInfoResult{q.calls.Take(), e}, nil
	}
	select {
	case res := <-q.ended:
		return res, nil
	case <-ctx.Done():
		q.calls.Cancel()
		return addrInfoResult{}, context.Cause(ctx)
	}
}

// complete is called by the completion routine, on a thread of the system, which it must not block.
func (s *addrInfos) complete(id uintptr, e syscall.Errno) {
	q := s.byID[id]
	if q == nil || q.users.Load() < 1 { // Load: what Prepare has written is visible
		panic(fmt.Sprintf("sysresolver: the system completes a request that is not in flight: %#x, %v", id, e))
	}
	q.ended <- addrInfoResult{q.calls.Take(), e}
	s.release(q)
}

// release is called by each user of q at its end; the last one makes it free.
func (s *addrInfos) release(q *addrInfo) {
	if q.users.Add(-1) > 0 {
		return
	}
	select {
	case <-q.ended: // the lookup has not waited for it
	default:
	}
	s.free <- q
}

// triesAgain reports whether a request with this error may succeed later. Those that were canceled without
// having been canceled here are among them: a handle may denote another request by the time that
// GetAddrInfoExCancel uses it, as the completion has made it invalid.
func triesAgain(e syscall.Errno) bool {
	return e == sys.WSATRY_AGAIN || e == sys.WSA_E_CANCELLED || e == sys.WSAECANCELLED
}

// addrInfoError returns the error of a lookup.
func addrInfoError(name string, e syscall.Errno) error {
	text := e.Error()
	switch {
	case e == sys.WSANO_DATA:
		return fmt.Errorf("GetAddrInfoExW %s: %w", name, ErrNoData)
	case e == sys.WSAHOST_NOT_FOUND:
		text = "no such host"
	case triesAgain(e):
		text = "the system's resolver has no answer at present; try again later"
	}
	return &net.DNSError{
		UnwrapErr: sys.CallError("GetAddrInfoExW", e), Err: text, Name: name,
		IsNotFound: e == sys.WSAHOST_NOT_FOUND, IsTemporary: triesAgain(e),
	}
}
