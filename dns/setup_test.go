package dns

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop/looptest"
)

// A zone answers as a recursive server that knows the records in it: by name, in lower case with the
// final dot, the addresses. A name without addresses exists; others do not.
type zone map[string][]string

// questionOf returns the name and the type that a query asks for.
func questionOf(q []byte) (name string, t Type) {
	end := exchangetest.QuestionEnd(q)
	return dnswire.Name(q[exchangetest.QuestionOffset : end-4]).Fold().String(), Type(binary.BigEndian.Uint16(q[end-4:]))
}

func (z zone) answer(q []byte) exchangetest.Message {
	name, t := questionOf(q)
	var addrs []string
	for _, a := range z[name] {
		if netip.MustParseAddr(a).Is4() == (t == TypeA) {
			addrs = append(addrs, a)
		}
	}
	a := exchangetest.AnswerTo(q, addrs...)
	if len(addrs) > 0 {
		return a
	}
	a[9] = 1 // an SOA record, of the root, with TTL and minimum of 30 s
	a = append(a, 0, 0, 6, 0, 1, 0, 0, 0, 30, 0, 22, 0, 0)
	for range 4 {
		a = append(a, 0, 0, 0, 0)
	}
	a = append(a, 0, 0, 0, 30)
	if _, ok := z[name]; !ok {
		a.Rcode(3)
	}
	return a
}

func (z zone) udp(q []byte) []exchangetest.Message { return []exchangetest.Message{z.answer(q)} }

// A testResolver is a Resolver on a testNet, with configuration files.
type testResolver struct {
	*exchangetest.Net
	*Resolver
}

// files are the configuration of a test.
type files struct{ resolv, nsswitch, hosts string }

func (f files) write(t testing.TB, c *Config) {
	dir := testkit.TempDir(t)
	c.ResolvConf, c.NSSwitch, c.Hosts = filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "nsswitch.conf"), filepath.Join(dir, "hosts")
	for path, text := range map[string]string{c.ResolvConf: f.resolv, c.NSSwitch: f.nsswitch, c.Hosts: f.hosts} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// onResolver runs f with a resolver in a bubble. The servers are those of the configuration.
func onResolver(t *testing.T, c Config, f files, test func(r *testResolver), servers ...*exchangetest.Server) {
	t.Helper()
	t.Setenv("LOCALDOMAIN", "") // unset below: t.Setenv restores it
	os.Unsetenv("LOCALDOMAIN")
	t.Setenv("RES_OPTIONS", "")
	f.write(t, &c)
	exchangetest.OnNet(t, looptest.Config{}, func(n *exchangetest.Net) {
		c.Group = n.Loop.Group()
		c.Servers = n.Addrs()
		r := &testResolver{n, must(New(c))}
		test(r)
		r.Close()
	}, servers...)
}

func (r *testResolver) wantAnswer(name string, p Path, addrs ...string) Answer {
	r.T.Helper()
	a, err := r.Lookup(r.T.Context(), name)
	if err != nil {
		r.T.Fatal(err)
	}
	got := []string{}
	for _, addr := range a.Addrs {
		got = append(got, addr.String())
	}
	if slices.Sort(got); !slices.Equal(got, addrs) || a.Path != p || a.Name != name {
		r.T.Fatalf("%+v, want the addresses %v from %q", a, addrs, p)
	}
	return a
}

const testHosts = "192.0.2.7 Printer printer.home # a comment\n2001:db8::7 printer\n"

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
