// Package lookup looks up many names at the same time, and prints the answers.
package lookup

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pollux-io/pollux/dns"
)

// A Kind is what is looked up of a name: the records of a type, or Addresses.
type Kind dns.Type

// Addresses are A and AAAA records together, in the order in which to connect.
const Addresses Kind = 0

const addressesName = "A+AAAA"

// types have mnemonics.
var types = []dns.Type{
	dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypeSRV, dns.TypeMX, dns.TypeTXT, dns.TypePTR, dns.TypeNS, dns.TypeSOA,
}

// Kinds are the texts that ParseKind accepts, besides those with a number.
const Kinds = "A, AAAA, " + addressesName + ", CNAME, SRV, MX, TXT, PTR, NS, SOA, or TYPE and a number, such as TYPE65"

func (k Kind) String() string {
	if k == Addresses {
		return addressesName
	}
	return dns.Type(k).String()
}

// wantsAddresses reports whether the answer is one of addresses.
func (k Kind) wantsAddresses() bool {
	return k == Addresses || dns.Type(k) == dns.TypeA || dns.Type(k) == dns.TypeAAAA
}

// ParseKind is the inverse of Kind.String, whatever the case. Types that no record has are an error.
func ParseKind(text string) (Kind, error) {
	upper := strings.ToUpper(text)
	if upper == addressesName {
		return Addresses, nil
	}
	for _, t := range types {
		if t.String() == upper {
			return Kind(t), nil
		}
	}
	digits, ok := strings.CutPrefix(upper, "TYPE")
	if !ok {
		return 0, errors.New("unknown type")
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	switch {
	case err != nil:
		return 0, errors.New("the number of a type is from 1 to 65534")
	case n == 0, n == 41, 128 <= n && n <= 255, n == 65535: // RFC 6895, section 3.1
		return 0, errors.New("no record has this type")
	}
	return Kind(n), nil
}

// ParseKinds parses a list, and leaves out duplicates. An empty list is that of Addresses alone.
func ParseKinds(texts []string) (kinds []Kind, invalid string, err error) {
	for _, text := range texts {
		k, err := ParseKind(text)
		if err != nil {
			return nil, text, err
		}
		if !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	if kinds == nil {
		kinds = []Kind{Addresses}
	}
	return kinds, "", nil
}

// dnsPort is the port of DNS servers.
const dnsPort = 53

// ParseServer parses the address of a server. Its port is 53 by default; an IPv6 address with a port is
// in brackets, and without one may be.
func ParseServer(text string) (netip.AddrPort, error) {
	if host, port, err := net.SplitHostPort(text); err == nil {
		if addr, err := netip.ParseAddr(host); err == nil {
			n, err := strconv.ParseUint(port, 10, 16)
			if err != nil || n == 0 {
				return netip.AddrPort{}, fmt.Errorf("port %q is not a number from 1 to 65535", port)
			}
			return netip.AddrPortFrom(addr, uint16(n)), nil
		}
	}
	bare := text
	if len(text) > 2 && text[0] == '[' && text[len(text)-1] == ']' {
		bare = text[1 : len(text)-1]
	}
	addr, err := netip.ParseAddr(bare)
	if err != nil {
		return netip.AddrPort{}, errors.New("not an IP address")
	}
	return netip.AddrPortFrom(addr, dnsPort), nil
}

// reverseName returns the name that has the PTR records of an address: below in-addr.arpa (RFC 1035, section
// 3.5) or ip6.arpa (RFC 3596, section 2.5). An IPv4-mapped address is taken as IPv4; a zone is ignored.
func reverseName(addr netip.Addr) string {
	addr = addr.Unmap()
	octets := addr.AsSlice()
	slices.Reverse(octets)
	var b strings.Builder
	for _, c := range octets {
		if addr.Is4() {
			fmt.Fprintf(&b, "%d.", c)
		} else {
			fmt.Fprintf(&b, "%x.%x.", c&0xf, c>>4)
		}
	}
	if addr.Is4() {
		return b.String() + "in-addr.arpa."
	}
	return b.String() + "ip6.arpa."
}
