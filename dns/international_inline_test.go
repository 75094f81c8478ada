package dns

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/dnscache"
	"github.com/pollux-io/pollux/internal/testkit"
)

// resolverWithHosts returns a resolver that has a hosts file, and asks a server that does not exist.
func resolverWithHosts(t *testing.T, hosts string) *Resolver {
	t.Helper()
	path := filepath.Join(testkit.TempDir(t), "hosts")
	if err := os.WriteFile(path, []byte(hosts), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := New(Config{
		Strategy: Evented, Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")},
		Hosts: path, ResolvConf: os.DevNull, NSSwitch: os.DevNull,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// know puts the result of a lookup of addresses into the cache.
func (r *Resolver) know(name string, k known) {
	v := r.view(r.now())
	k.hosts = v.Hosts
	key := dnscache.Key{Name: name, Type: uint16(typeAddresses), Epoch: uint32(v.Epoch)}
	r.known.Put(r.now(), key, dnscache.Answer[*known]{Value: &k, TTL: time.Hour, Negative: k.err != nil, Size: resultBytes})
}

// LookupInline and Explain take international names as lookups do.
func TestInternationalInline(t *testing.T) {
	r := resolverWithHosts(t, "192.0.2.7 drücker\n")
	r.know("xn--bcher-kva.example", known{answer: Answer{Path: PathCache, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}})
	for name, want := range map[string]struct {
		path Path
		err  error
	}{
		"drücker":         {PathHosts, nil},
		"DRÜCKER":         {PathHosts, nil},
		"bücher.example":  {PathCache, nil},
		"１９２.0.2.9":       {PathLiteral, nil},
		"neu.bücher.test": {"", ErrNotInline},
		"bücher.invalid":  {"", ErrNoName},
		"ü..example":      {"", pollux.ErrBadArgument},
		"a\u200dü":        {"", pollux.ErrBadArgument},
	} {
		a, err := r.LookupInline(name, typeAddresses)
		if !errors.Is(err, want.err) || a.Path != want.path || err == nil && a.Name != name {
			t.Errorf("LookupInline %q: %+v, %v, want %+v", name, a, err, want)
		}
		if e, ok := errors.AsType[*Error](err); err != nil && (!ok || e.Name != name) {
			t.Errorf("%v, want an *Error with the name as given, %q", err, name)
		}
		p := r.Explain(name, typeAddresses)
		if want.err == ErrNotInline {
			want.path, want.err = PathEvented, nil
		}
		if p.Name != name || p.Path != want.path || !errors.Is(p.Err, want.err) {
			t.Errorf("Explain: %+v, want %+v", p, want)
		}
	}
	if p := r.Explain("neu.bücher.test.", typeAddresses); !slices.Equal(p.Names, []string{"neu.xn--bcher-kva.test."}) {
		t.Errorf("names %q", p.Names)
	}
}

// Lookups of both forms of a name have one cached error, each with the name as it was given.
func TestInternationalCachedError(t *testing.T) {
	const given = "bücher.example"
	const ascii = "xn--bcher-kva.example"
	r := resolverWithHosts(t, "")
	r.know(ascii, known{err: &Error{Name: ascii, Type: typeAddresses, Path: PathCache, Err: ErrNoName}})
	_, first := r.Lookup(t.Context(), ascii)
	_, second := r.Lookup(t.Context(), given)
	for _, c := range []struct {
		err  error
		name string
	}{{first, ascii}, {second, given}} {
		if e, ok := errors.AsType[*Error](c.err); !ok || e.Name != c.name || !errors.Is(e, ErrNoName) {
			t.Errorf("%v, want ErrNoName of %q", c.err, c.name)
		}
	}
}
