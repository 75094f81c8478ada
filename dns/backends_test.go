package dns

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// listenBoth listens at one port of TCP and UDP.
func listenBoth(t testing.TB) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 20 {
		ln := must(net.Listen("tcp", "127.0.0.1:0"))
		pc, err := net.ListenPacket("udp", ln.Addr().String())
		if err == nil {
			return ln, pc
		}
		ln.Close() // another process has the port of UDP
	}
	t.Fatal("no port is free for both TCP and UDP")
	panic("unreachable")
}

// realServer is a DNS server on the system's loopback. Names that begin with "long" are truncated over UDP.
func realServer(t testing.TB) netip.AddrPort {
	t.Helper()
	testkit.SkipOnWine(t, "package net's UDP does not work there")
	ln, pc := listenBoth(t)
	done := make(chan struct{}, 2)
	t.Cleanup(func() {
		ln.Close()
		pc.Close()
		<-done
		<-done
	})
	go func() {
		defer func() { done <- struct{}{} }()
		b := make([]byte, 2048)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			a := zone{"a.": {trueAddr}, "long.": {trueAddr}}.answer(b[:n])
			if name, _ := questionOf(b[:n]); name == "long." {
				a = a.truncated()
			}
			pc.WriteTo(a, from)
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			for {
				query, err := readFrame(c)
				if err != nil {
					break
				}
				c.Write(frame(zone{"long.": {trueAddr}}.answer(query)))
			}
			c.Close()
		}
	}()
	return netip.MustParseAddrPort(ln.Addr().String())
}

// Every backend of this machine resolves names, over UDP and TCP, and releases its sockets.
func TestBackends(t *testing.T) {
	for _, b := range loop.Backends() {
		t.Run(b.Name, func(t *testing.T) {
			testkit.CheckLeaks(t)
			if !b.Usable {
				t.Skip(b.Why)
			}
			g, err := loop.NewGroup(loop.Config{Loops: 2, Backend: b.Name})
			if err != nil {
				t.Fatal(err) // POLLUX_BACKEND overrides all names
			}
			defer g.Shutdown(t.Context())
			c := Config{Group: g, Servers: []netip.AddrPort{realServer(t)}, Timeout: testkit.Watchdog}
			files{}.write(t, &c)
			r := must(New(c))
			defer r.Close()
			for name, want := range map[string]string{"a.": "udp", "long.": "tcp"} {
				a, err := r.Lookup(t.Context(), name)
				if err != nil || len(a.Addrs) != 1 || a.Addrs[0].String() != trueAddr || a.Path != Path("evented "+c.Servers[0].String()+" "+want) {
					t.Errorf("%s: %+v, %v", name, a, err)
				}
			}
		})
	}
}

// Without a group, the resolver has a loop of its own, from the first lookup that needs it.
func TestOwnGroup(t *testing.T) {
	testkit.CheckLeaks(t)
	c := Config{Servers: []netip.AddrPort{realServer(t)}}
	files{}.write(t, &c)
	r := must(New(c))
	defer r.Close()
	if a, err := r.Lookup(t.Context(), "192.0.2.3"); err != nil || r.own != nil {
		t.Errorf("%+v, %v; a group for a literal: %v", a, err, r.own != nil)
	}
	if a, err := r.Lookup(t.Context(), "a."); err != nil || a.Addrs[0].String() != trueAddr {
		t.Errorf("%+v, %v", a, err)
	}
}

// What is known costs no time, and of memory only the slice of addresses.
func TestInlineAllocations(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	c := Config{Servers: []netip.AddrPort{realServer(t)}}
	files{hosts: testHosts}.write(t, &c)
	r := must(New(c))
	defer r.Close()
	r.Lookup(t.Context(), "a.")
	for name, most := range map[string]float64{"192.0.2.3": 1, "2001:db8::1": 1, "localhost": 2, "printer": 2, "a.": 0} {
		if n := testing.AllocsPerRun(100, func() { r.Lookup(t.Context(), name) }); n > most {
			t.Errorf("%s: %v allocations, want %v at most", name, n, most)
		}
	}
}

// reportCPU reports the processor time of an operation, which is what counts on a busy machine.
func reportCPU(b *testing.B, before time.Duration) {
	if after, ok := testkit.CPUTime(); ok {
		b.ReportMetric(float64(after-before)/float64(b.N), "cpu-ns/op")
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, bench := range []struct{ name, host string }{
		{"Literal", "192.0.2.3"}, {"Localhost", "localhost"}, {"Hosts", "printer"}, {"Cache", "a."},
	} {
		b.Run(bench.name, func(b *testing.B) {
			c := Config{Servers: []netip.AddrPort{realServer(b)}}
			files{hosts: testHosts}.write(b, &c)
			r := must(New(c))
			defer r.Close()
			ctx := b.Context()
			r.Lookup(ctx, bench.host)
			b.ReportAllocs()
			before, _ := testkit.CPUTime()
			for b.Loop() {
				r.Lookup(ctx, bench.host)
			}
			reportCPU(b, before)
		})
	}
	b.Run("Evented", func(b *testing.B) {
		c := Config{Servers: []netip.AddrPort{realServer(b)}, CacheEntries: -1}
		files{}.write(b, &c)
		r := must(New(c))
		defer r.Close()
		ctx, start := b.Context(), time.Now()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.LookupType(ctx, "a.", TypeA); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "lookups/s")
	})
}
