package dnsconf

import (
	"strings"

	"github.com/pollux-io/pollux/internal/dnswire"
)

// onion is the domain that must not be asked for by DNS (RFC 7686, section 2).
const onion dnswire.Name = "\x05onion\x00"

// Names returns the names to ask for, in order, until one has an answer. That is text alone if it has a
// final dot. If it has fewer than Ndots dots, the search list comes before the name as it is, otherwise
// after it. Names that become too long are left out. There are no names, without an error, for a name that DNS must not be
// asked for. The error is a *dnswire.NameError.
func (r *Resolv) Names(text string) ([]dnswire.Name, error) {
	name, err := dnswire.ParseName(text)
	if err != nil {
		return nil, err
	}
	switch {
	case name.Under(onion):
		return nil, nil
	case isRooted(text):
		return []dnswire.Name{name}, nil
	}
	dots := -1
	for at := 0; name[at] != 0; at += 1 + int(name[at]) {
		dots++
	}
	asIs, first := dots > 0 || !r.NoTLDQuery, dots >= r.Ndots
	names := make([]dnswire.Name, 0, len(r.Search)+1)
	if asIs && first {
		names = append(names, name)
	}
	for _, suffix := range r.Search {
		if long := name[:len(name)-1] + suffix; len(long) <= dnswire.MaxNameBytes && !long.Under(onion) {
			names = append(names, long)
		}
	}
	if asIs && !first {
		names = append(names, name)
	}
	return names, nil
}

// isRooted reports whether text ends with a dot that is not escaped.
func isRooted(text string) bool {
	before, ok := strings.CutSuffix(text, ".")
	return ok && (len(before)-len(strings.TrimRight(before, `\`)))%2 == 0
}
