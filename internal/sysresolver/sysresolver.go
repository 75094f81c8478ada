// Package sysresolver asks the system's resolver for addresses: by package net, and on Windows by GetAddrInfoExW, whose
// requests hold no threads. addrinfo_windows.go has the latter; its system calls are in internal/sys.
package sysresolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

// A Lookup looks up the addresses of a name as the system does. It returns soon after ctx ends. Its error
// is a *net.DNSError with IsNotFound if the name does not exist, and wraps ErrNoData if the name has no
// addresses and the system distinguishes that.
type Lookup func(ctx context.Context, name string) ([]netip.Addr, error)

// ErrNoData: the name exists, but has no addresses.
var ErrNoData = errors.New("the name has no addresses")

// netLookup is the Lookup of package net, which holds a thread while getaddrinfo(3) runs.
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
