package dnsconf

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/idn"
)

// Limits of a hosts file.
const (
	MaxHostsSize = 16 << 20
	// MaxHostAddrs is how many addresses a name may have, and how many names an address.
	MaxHostAddrs = 256
)

// Hosts is the content of a hosts file. It is immutable: methods may be called from any goroutine,
// and what they return must not be changed.
type Hosts struct {
	byName map[string]host // in lower case, without a final dot
	byAddr map[netip.Addr][]string
}

type host struct {
	canonical string
	addrs     []netip.Addr
}

// Lookup returns the addresses of a name, in the order of the file, and its canonical name: the first of
// the line that has the name first. The case of name, and a final dot, do not matter, nor whether an international
// name is in its ASCII form. Lookup does not allocate if name is in lower case, and in ASCII.
func (h *Hosts) Lookup(name string) (addrs []netip.Addr, canonical string, ok bool) {
	e, ok := h.byName[hostKey(name)]
	return e.addrs, e.canonical, ok
}

// Reverse returns the names of an address, in the order of the file and in its case. A zone matters; an
// IPv4-mapped address is taken as IPv4.
func (h *Hosts) Reverse(addr netip.Addr) []string { return h.byAddr[addr.Unmap()] }

// Len returns the number of names.
func (h *Hosts) Len() int { return len(h.byName) }

// hostKey returns the key of a name: in ASCII, if it has an ASCII form, so that both forms of an international name match.
func hostKey(name string) string {
	if ascii, err := idn.ToASCII(name); err == nil {
		name = ascii
	}
	return lower(strings.TrimSuffix(name, "."))
}

// ParseHosts parses the content of a hosts file. That of a file that does not exist is "".
func ParseHosts(data string) (*Hosts, []Warning) {
	var w warnings
	h := &Hosts{map[string]host{}, map[netip.Addr][]string{}}
	var f []string
	for line := range w.lines(data, MaxHostsSize) {
		line, _, _ = strings.Cut(line, "#")
		if f = appendFields(f[:0], line); len(f) > 0 {
			h.add(&w, f[0], f[1:])
		}
	}
	return h, w.all()
}

// add adds a line of an address and its names.
func (h *Hosts) add(w *warnings, address string, names []string) {
	addr, ok := parseAddr(address)
	switch {
	case !ok:
		w.add(Invalid, "%s is not an IP address", quote(address))
		return
	case len(names) == 0:
		w.add(Invalid, "%s has no name", quote(address))
		return
	}
	canonical := ""
	for _, name := range names {
		if err := checkHostName(name); err != nil {
			w.add(Invalid, "name %s of %v: %v", quote(name), addr, err)
			continue
		}
		key := hostKey(name)
		if canonical == "" {
			canonical = key
		}
		h.addName(w, addr, name, key, canonical)
	}
}

// errHostName reports names that DNS has, but a hosts file cannot express.
var errHostName = errors.New("it is the root, or has a backslash, which escapes nothing in this file")

func checkHostName(name string) error {
	if name == "." || strings.Contains(name, `\`) {
		return errHostName
	}
	_, err := dnswire.ParseName(name)
	return err
}

func (h *Hosts) addName(w *warnings, addr netip.Addr, name, key, canonical string) {
	e, ok := h.byName[key]
	if !ok {
		e.canonical = canonical
	}
	switch names := h.byAddr[addr]; {
	case slices.Contains(e.addrs, addr):
		return
	case len(e.addrs) == MaxHostAddrs:
		w.add(Limited, "%v of %s is ignored: it has %d addresses before it", addr, quote(name), MaxHostAddrs)
		return
	case len(names) < MaxHostAddrs:
		// Files that block names have many thousands for one address: no warning.
		h.byAddr[addr] = append(names, strings.TrimSuffix(name, "."))
	}
	e.addrs = append(e.addrs, addr)
	h.byName[key] = e
}
