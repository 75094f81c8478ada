// Package addrorder orders the addresses of a host for connecting: by the rules of RFC 6724
// (Sort), and with the families taking turns, for Happy Eyeballs (Interleave).
package addrorder

import (
	"net/netip"
	"slices"
)

// Sort orders destination addresses by RFC 6724, section 6, the preferred one first. Those that the
// rules do not distinguish keep their order. The function source returns the address from which the
// system would send to a destination, or the zero Addr if it has no route: connecting a UDP socket
// finds it without sending anything. Sort calls it once for each address, if there are two or more.
//
// The rules are those that Go's package net applies. Rules 3, 4 and 7 need what an address does not
// show: whether the source is deprecated or a home address, and tunnels. Rule 9, the longest common
// prefix, compares only IPv6 addresses, whose prefixes follow the topology, and only the 64 bits of
// their networks. With IPv4 it would always prefer the same one of the addresses that a server
// rotates.
func Sort(addrs []netip.Addr, source func(netip.Addr) netip.Addr) {
	if len(addrs) < 2 {
		return
	}
	ranked := make([]destination, len(addrs))
	for i, a := range addrs {
		ranked[i] = destination{a, rank(plain(a), plain(source(a)))}
	}
	slices.SortStableFunc(ranked, func(a, b destination) int { return int(b.rank) - int(a.rank) })
	for i, d := range ranked {
		addrs[i] = d.addr
	}
}

type destination struct {
	addr netip.Addr
	rank uint32
}

// plain returns an address without zone, and an IPv4 address in IPv6 as IPv4.
func plain(a netip.Addr) netip.Addr { return a.WithZone("").Unmap() }

// rank returns a number that is greater the more a destination is preferred: an earlier rule has
// higher bits. It can be one number for each destination, although RFC 6724 compares pairs, because
// families, which rule 9 does not compare, always differ by rule 6.
func rank(dst, src netip.Addr) (r uint32) {
	if !dst.IsValid() || !src.IsValid() {
		return 0 // rule 1: avoid unusable destinations, which are all equal
	}
	r = 1
	dstPolicy, srcPolicy := policyOf(dst), policyOf(src)
	dstScope, srcScope := scopeOf(dst), scopeOf(src)
	r = r<<1 | bit(dstScope == srcScope)               // rule 2: prefer matching scope
	r = r<<1 | bit(dstPolicy.label == srcPolicy.label) // rule 5: prefer matching label
	r = r<<6 | uint32(dstPolicy.precedence)            // rule 6: prefer higher precedence
	r = r<<4 | uint32(maxScope-dstScope)               // rule 8: prefer smaller scope
	r = r<<7 | uint32(commonPrefix(dst, src))          // rule 9: prefer the longest matching prefix
	return r
}

func bit(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}
