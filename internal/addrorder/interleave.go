package addrorder

import (
	"net/netip"
	"slices"
)

// Interleave returns the addresses in an order in which the families take turns (RFC 8305, section
// 4): first so many of the family of addrs[0], at least one, then one of the other, one of the first
// and so on. When one family ends, the rest of the other follows. Within a family the order stays.
func Interleave(addrs []netip.Addr, first int) []netip.Addr {
	mixed := make([]netip.Addr, 0, len(addrs))
	if len(addrs) == 0 {
		return mixed
	}
	var same, other []netip.Addr // as the first address
	for _, a := range addrs {
		if a.Unmap().Is4() == addrs[0].Unmap().Is4() {
			same = append(same, a)
		} else {
			other = append(other, a)
		}
	}
	n := min(max(first, 1), len(same))
	mixed = append(mixed, same[:n]...)
	same = same[n:]
	for len(same) > 0 && len(other) > 0 {
		mixed = append(mixed, other[0], same[0])
		same, other = same[1:], other[1:]
	}
	mixed = append(mixed, other...)
	return append(mixed, same...)
}

// InterleaveAfter returns the addresses in the order in which to try them after last: beginning with the other
// family, if it has any, and then as Interleave. It does not change addrs.
func InterleaveAfter(last netip.Addr, addrs []netip.Addr) []netip.Addr {
	i := slices.IndexFunc(addrs, func(a netip.Addr) bool { return a.Unmap().Is4() != last.Unmap().Is4() })
	if i > 0 {
		first := addrs[i]
		addrs = slices.Insert(slices.Delete(slices.Clone(addrs), i, i+1), 0, first)
	}
	return Interleave(addrs, 1)
}
