package dnsconf

import "net/netip"

// maxZoneBytes bounds zones. Interfaces of Linux have names of at most 15 bytes, those of others are not much longer.
const maxZoneBytes = 64

// parseAddr parses an address, maybe with a zone, which must be printable: it goes into messages. An
// IPv4-mapped address becomes IPv4.
func parseAddr(text string) (addr netip.Addr, ok bool) {
	addr, err := netip.ParseAddr(text)
	if err != nil || len(addr.Zone()) > maxZoneBytes {
		return netip.Addr{}, false
	}
	for _, c := range []byte(addr.Zone()) {
		if c <= ' ' || c > '~' {
			return netip.Addr{}, false
		}
	}
	return addr.Unmap(), true
}
