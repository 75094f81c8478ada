package dns_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/loop"
)

func ExampleResolver_Lookup() {
	r, err := dns.New(dns.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, name := range []string{"192.0.2.1", "localhost"} {
		a, err := r.Lookup(ctx, name)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(a.Name, a.Addrs, a.Path)
	}
	// Output:
	// 192.0.2.1 [192.0.2.1] literal
	// localhost [127.0.0.1 ::1] localhost
}

// A callback must not wait, but may ask for what is known already.
func ExampleResolver_LookupInline() {
	r, err := dns.New(dns.Config{Hosts: os.DevNull})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	for _, name := range []string{"localhost", "example.org"} {
		a, err := r.LookupInline(name, 0)
		switch {
		case errors.Is(err, dns.ErrNotInline):
			fmt.Println(name, "has to be asked for, by LookupFunc")
		case err != nil:
			fmt.Println(err)
		default:
			fmt.Println(name, a.Addrs)
		}
	}
	// Output:
	// localhost [127.0.0.1 ::1]
	// example.org has to be asked for, by LookupFunc
}

// Many names are looked up on one loop, a few at a time.
func ExampleResolver_LookupFunc() {
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer g.Shutdown(context.Background())
	r, err := dns.New(dns.Config{Group: g})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	const atOnce = 100
	inProgress := make(chan struct{}, atOnce)
	for _, name := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		inProgress <- struct{}{} // waits while there are atOnce
		r.LookupFunc(g.Loops()[0], name, func(a dns.Answer, err error) {
			fmt.Println(a.Name, a.Addrs, err)
			<-inProgress
		})
	}
	for range atOnce { // waits for the last ones
		inProgress <- struct{}{}
	}
	// Unordered output:
	// 192.0.2.1 [192.0.2.1] <nil>
	// 192.0.2.2 [192.0.2.2] <nil>
	// 192.0.2.3 [192.0.2.3] <nil>
}

// Which source a name has, and why. No query is sent.
func ExampleResolver_Explain() {
	r, err := dns.New(dns.Config{
		Servers:    []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")},
		ResolvConf: os.DevNull, Hosts: os.DevNull,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	for _, name := range []string{"192.0.2.1", "example.org.", "x.onion"} {
		p := r.Explain(name, 0)
		fmt.Printf("%s: %q %v %v\n", name, p.Path, p.Names, p.Err)
	}
	// Output:
	// 192.0.2.1: "literal" [] <nil>
	// example.org.: "evented" [example.org.] <nil>
	// x.onion: "" [] no such name: not found: names under .onion are Tor's, and must not be asked for (RFC 7686)
}

// What to do about an error.
func ExampleError() {
	r, err := dns.New(dns.Config{Hosts: os.DevNull})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	advise := func(err error) string {
		e, ok := errors.AsType[*dns.Error](err)
		switch {
		case errors.Is(err, dns.ErrNoName):
			return "the name does not exist: check the spelling"
		case errors.Is(err, dns.ErrNoData):
			return "the name has no record of the type"
		case errors.Is(err, pollux.ErrBadArgument):
			return "this cannot be a name"
		case errors.Is(err, dns.ErrBusy):
			return "too many lookups at a time: begin fewer"
		case ok && e.Timeout():
			return "the servers do not respond in time"
		case ok && e.Temporary():
			return "try again later"
		}
		return "give up"
	}
	for _, name := range []string{"x.invalid", "127.1"} {
		_, err := r.Lookup(context.Background(), name)
		fmt.Println(name, "-", advise(err))
	}
	// Output:
	// x.invalid - the name does not exist: check the spelling
	// 127.1 - this cannot be a name
}

// The servers of a service, in the order in which to try them.
func ExampleAnswer_ByPriority() {
	a := dns.Answer{Type: dns.TypeSRV, Records: []dns.Record{ // of LookupType(ctx, "_imaps._tcp.example.org.", dns.TypeSRV)
		{Type: dns.TypeSRV, Target: "second.example.org.", Preference: 20, Port: 993},
		{Type: dns.TypeSRV, Target: "first.example.org.", Preference: 10, Port: 993},
	}}
	for _, srv := range a.ByPriority() {
		if srv.Target == "." {
			continue // the service is not available there
		}
		fmt.Printf("%s:%d\n", srv.Target, srv.Port)
	}
	// Output:
	// first.example.org.:993
	// second.example.org.:993
}

// The name of an address, verified: the owner of an address can claim any name.
func ExampleResolver_LookupAddr() {
	dir, err := os.MkdirTemp("", "dns")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	hosts := filepath.Join(dir, "hosts")
	if err := os.WriteFile(hosts, []byte("192.0.2.7 printer.example\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	r, err := dns.New(dns.Config{Strategy: dns.Evented, Hosts: hosts})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	ctx, addr := context.Background(), netip.MustParseAddr("192.0.2.7")
	a, err := r.LookupAddr(ctx, addr)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, ptr := range a.ByPriority() {
		if forward, err := r.Lookup(ctx, ptr.Target); err == nil && slices.Contains(forward.Addrs, addr) {
			fmt.Println(ptr.Target)
		}
	}
	// Output:
	// printer.example.
}

// A hello sends a line and closes.
type hello struct{}

func (hello) Opened(c *loop.Conn) {
	io.WriteString(c, "hello\n")
	c.Close()
}

func (hello) Data(_ *loop.Conn, b []byte) (int, error) { return len(b), nil }

// Dial connects to the first address of a name that responds.
func ExampleDialer() {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer g.Shutdown(context.Background())
	r, err := dns.New(dns.Config{Group: g})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	_, port, _ := net.SplitHostPort(server.Addr().String())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	d := dns.Dialer{Resolver: r}
	if _, err := d.Dial(ctx, "tcp", net.JoinHostPort("localhost", port), func(*loop.Conn) loop.Handler { return hello{} }); err != nil {
		fmt.Println(err)
		return
	}
	peer, err := server.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer peer.Close()
	line, err := io.ReadAll(peer)
	fmt.Printf("%q %v\n", line, err)
	// Output:
	// "hello\n" <nil>
}

// An HTTP client of package net/http whose lookups go through the resolver.
func ExampleResolver_NetResolver() {
	r, err := dns.New(dns.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	dialer := &net.Dialer{Resolver: r.NetResolver()}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}
	defer client.CloseIdleConnections()

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	defer server.Close()
	response, err := client.Get(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	fmt.Printf("%s %v\n", body, err)
	// Output:
	// hello <nil>
}

// A resolver for millions of names: it sends from several addresses, and no faster than the servers permit.
func ExampleConfig_bulk() {
	c := dns.Config{
		Strategy:            dns.Evented,
		Servers:             []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("192.0.2.54:53")},
		SourceAddrs:         []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")},
		MaxQueriesPerServer: 2000,
		MaxRatePerServer:    20_000,
		MaxInFlight:         20_000,
		CacheEntries:        -1, // each name is asked for once
	}
	r, err := dns.New(c)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	for _, s := range r.ServerStats() { // also while lookups are in progress
		fmt.Println(s.Addr, s.Answered, s.MeanRTT, s.Failing)
	}
	// Output:
}
