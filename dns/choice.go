package dns

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/misuse"
)

// A choice is that of a source for a lookup that is not known inline.
type choice struct {
	path   Path           // PathEvented or PathPool; "" with err
	reason string         // why that path
	names  []dnswire.Name // to ask servers for, in order: at least one
	err    error          // no source is asked
}

// poolReason returns why the pool was chosen, or "".
func (c *choice) poolReason() string {
	if c.path == PathPool {
		return c.reason
	}
	return ""
}

// choose decides where the answer to a lookup comes from. Explain reports its choice for lookups to come.
func (r *Resolver) choose(v *view, name string, t Type) choice {
	if err := refuse(name, t); err != nil {
		return choice{err: err}
	}
	if r.config.Strategy == Inline {
		return choice{err: ErrNotInline}
	}
	path, reason := r.eventedOrPool(v.Snapshot, name, t)
	if path == PathPool {
		return choice{path: path, reason: reason}
	}
	names, err := v.Resolv.Names(name)
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("%w: resolv.conf has no-tld-query, and no search list to complete a name without dots", ErrNoName)
	}
	if err != nil {
		return choice{err: err}
	}
	return choice{path: path, reason: reason, names: names}
}

// Domains whose names are not in DNS.
const (
	onion   = "onion"
	invalid = "invalid"
)

// refuse returns why no source is asked for a name and type, or nil.
func refuse(name string, t Type) error {
	if !isASCII(name) {
		return errNotASCII
	}
	parsed, err := dnswire.ParseName(name)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", misuse.ErrBadArgument, err)
	case isMeta(t):
		return fmt.Errorf("%w: no record has the type %v", misuse.ErrBadArgument, t)
	case isUnder(name, onion):
		return fmt.Errorf("%w: names under .onion are Tor's, and must not be asked for (RFC 7686)", ErrNoName)
	case isUnder(name, invalid):
		return fmt.Errorf("%w: names under .invalid do not exist (RFC 6761, section 6.4)", ErrNoName)
	case wantsAddresses(t):
		return refuseAddress(name, parsed)
	case isLocalhost(name):
		return fmt.Errorf("%w: localhost has addresses only (RFC 6761, section 6.3)", ErrNoData)
	}
	return nil
}

// refuseAddress returns why a name, which is no address, cannot be that of a host. Such names are mistakes, or attempts
// to pass an address by a filter: inet_aton(3) takes 127.1 for one, and other programs do not (RFC 6943, section 3.1.1).
func refuseAddress(name string, parsed dnswire.Name) error {
	switch {
	case parsed == dnswire.Root:
		return fmt.Errorf("%w: the root, \".\", has no addresses", misuse.ErrBadArgument)
	case strings.IndexByte(name, ':') >= 0:
		return fmt.Errorf("%w: the name has a colon and is not an IPv6 address: leave out brackets and port", misuse.ErrBadArgument)
	case endsInNumber(name):
		return fmt.Errorf("%w: the name ends in a number and is not an IPv4 address: write that as four decimal numbers, without a final dot", misuse.ErrBadArgument)
	}
	return nil
}

// endsInNumber reports whether the last label is a decimal or hexadecimal number, which no top-level domain is (RFC
// 3696, section 2; the URL standard's "ends in a number").
func endsInNumber(name string) bool {
	name = strings.TrimSuffix(name, ".")
	label := name[strings.LastIndexByte(name, '.')+1:]
	digits := "0123456789"
	if len(label) >= 2 && label[0] == '0' && label[1]|0x20 == 'x' {
		label, digits = label[2:], "0123456789abcdefABCDEF"
	}
	return strings.Trim(label, digits) == ""
}

// isMeta reports whether no record has the type: it is reserved, OPT, or for queries (RFC 6895, section 3.1).
func isMeta(t Type) bool {
	const opt, firstMeta, lastMeta, reserved = 41, 128, 255, 65535
	return t == opt || t >= firstMeta && t <= lastMeta || t == reserved
}

func isASCII(name string) bool {
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
