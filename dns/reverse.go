package dns

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/idn"
	"github.com/pollux-io/pollux/loop"
)

// LookupAddr looks up the names of an address: those of the hosts file, or else the PTR records below in-addr.arpa or
// ip6.arpa (RFC 1035, RFC 3596). They are the targets of Answer.ByPriority. An IPv4-mapped address is taken as IPv4;
// a zone has no effect. The owner of the address chooses these names: look up their addresses to verify them. The error is an
// *Error.
//
// LookupAddr waits for a loop: in a callback, use LookupAddrFunc.
func (r *Resolver) LookupAddr(ctx context.Context, addr netip.Addr) (Answer, error) {
	name, t := reverseQuestion(addr)
	return r.lookup(ctx, name, t)
}

// LookupAddrFunc is LookupAddr on the loop l, as LookupFunc.
func (r *Resolver) LookupAddrFunc(l *loop.Loop, addr netip.Addr, done func(Answer, error)) *Lookup {
	name, t := reverseQuestion(addr)
	return r.lookupFunc(l, name, t, done)
}

// reverseQuestion returns what to look up for the names of addr. The zero Addr has a type that is refused.
func reverseQuestion(addr netip.Addr) (name string, t Type) {
	if !addr.IsValid() {
		return addr.String(), oneType(typeAddresses)
	}
	return dnswire.ReverseName(addr).String(), TypePTR
}

// reverse sets a to the names that the hosts file has of an address, for a lookup of PTR records, and reports whether there are any.
func (v *view) reverse(a *Answer, name string) bool {
	addr, ok := addrOfReverse(name)
	if !ok {
		return false
	}
	var records []Record
	for _, host := range v.Hosts.Reverse(addr) {
		if ascii, err := idn.ToASCII(host); err == nil {
			host = ascii
		}
		if target, err := dnswire.ParseName(host); err == nil {
			records = append(records, Record{Name: name, Type: TypePTR, Target: target.String(), Value: target.String()})
		}
	}
	if len(records) == 0 {
		return false
	}
	*a = Answer{Name: name, Canonical: name, Type: TypePTR, Path: PathHosts, Records: records}
	return true
}

// Suffixes of the names of addresses.
const reverse4, reverse6 = ".in-addr.arpa", ".ip6.arpa"

// addrOfReverse is the inverse of dnswire.ReverseName.
func addrOfReverse(name string) (netip.Addr, bool) {
	text := strings.ToLower(strings.TrimSuffix(name, "."))
	var addr netip.Addr
	if labels, ok := strings.CutSuffix(text, reverse4); ok {
		parts := strings.Split(labels, ".")
		slices.Reverse(parts)
		addr, _ = netip.ParseAddr(strings.Join(parts, "."))
	} else if labels, ok := strings.CutSuffix(text, reverse6); ok {
		const nibbles = 32
		if len(labels) != 2*nibbles-1 {
			return netip.Addr{}, false
		}
		var b strings.Builder
		for i := nibbles - 1; i >= 0; i-- {
			b.WriteByte(labels[2*i])
			if i > 0 && i%4 == 0 {
				b.WriteByte(':')
			}
		}
		addr, _ = netip.ParseAddr(b.String())
	}
	// What is parsed here may have another form, such as a separator in place of a digit.
	return addr, addr.IsValid() && dnswire.ReverseName(addr).String() == text+"."
}
