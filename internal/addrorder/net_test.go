//go:build unix

package addrorder

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
)

// connected returns the source address for a destination, by connecting a UDP socket, as package
// net does.
func connected(a netip.Addr) netip.Addr {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 53)))
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
}

// randomAddr returns addresses of all policies and scopes, many of them near those of this machine.
func randomAddr(r *rand.Rand) netip.Addr {
	prefixes := []string{
		"::1", "::ffff:10.0.0.0", "127.0.0.0", "169.254.0.0", "10.0.0.0", "8.8.8.0", "224.0.0.0",
		"2001:db8::", "2001::", "2002::", "3ffe::", "fec0::", "fd00::", "fe80::", "ff02::", "::2:0", "2600::",
	}
	a := netip.MustParseAddr(prefixes[r.IntN(len(prefixes))])
	if a.IsLoopback() && a.Is6() {
		return a
	}
	b := a.AsSlice()
	b[len(b)-1] = byte(1 + r.IntN(200))
	if a.Is6() && !a.Is4In6() && r.IntN(2) == 0 {
		b[6] ^= byte(r.IntN(8))
	}
	a, _ = netip.AddrFromSlice(b)
	return a.Unmap()
}

// Sort orders as package net does, with the sources that this machine has.
func TestSortAsPackageNet(t *testing.T) {
	testkit.CheckLeaks(t)
	r := rand.New(rand.NewPCG(3, 4))
	moved := 0
	for range 50 {
		var addrs []netip.Addr
		for range 2 + r.IntN(12) {
			if a := randomAddr(r); !slices.Contains(addrs, a) {
				addrs = append(addrs, a)
			}
		}
		got, want := unsorted(addrs), lookup(t, addrs)
		before := slices.Clone(got)
		Sort(got, connected)
		if !slices.Equal(got, want) {
			t.Errorf("Sort(%v)\n got %v\nwant %v", before, got, want)
		}
		if !slices.Equal(got, before) {
			moved++
		}
	}
	if moved == 0 {
		t.Error("no list needed sorting")
	}
}

// unsorted returns the addresses in the order in which package net receives them: it asks for both
// types at once, but reads the answer with the A records first.
func unsorted(addrs []netip.Addr) (ordered []netip.Addr) {
	for _, is4 := range []bool{true, false} {
		for _, a := range addrs {
			if a.Is4() == is4 {
				ordered = append(ordered, a)
			}
		}
	}
	return ordered
}

// lookup returns addrs in the order in which package net returns them for a name that has them all.
func lookup(t *testing.T, addrs []netip.Addr) []netip.Addr {
	t.Helper()
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe() // not a PacketConn: so messages have the framing of TCP
		go serve(server, addrs)
		return client, nil
	}}
	sorted, err := resolver.LookupNetIP(context.Background(), "ip", "all.example.")
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range sorted {
		sorted[i] = a.Unmap()
	}
	return sorted
}

// serve answers the queries of a connection with those of addrs that have the type in question.
func serve(c net.Conn, addrs []netip.Addr) {
	defer c.Close()
	for {
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		answer := respond(query, addrs)
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

// respond returns the answer to a query of a name of two labels.
func respond(query []byte, addrs []netip.Addr) []byte {
	const header, typeA, typeAAAA = 12, 1, 28
	end := header + len("\x03all\x07example\x00")
	asked := binary.BigEndian.Uint16(query[end:])
	answer := slices.Clone(query[:end+4])
	count := uint16(0)
	for _, a := range addrs {
		if a.Is4() && asked == typeA || a.Is6() && asked == typeAAAA {
			count++
			answer = append(answer, 0xc0, header) // the name: that of the question
			answer = binary.BigEndian.AppendUint16(answer, asked)
			answer = append(answer, 0, 1, 0, 0, 0, 60) // class IN, TTL
			answer = binary.BigEndian.AppendUint16(answer, uint16(a.BitLen()/8))
			answer = append(answer, a.AsSlice()...)
		}
	}
	answer[2], answer[3] = 0x84, 0x80 // an authoritative answer, recursion available
	binary.BigEndian.PutUint16(answer[6:], count)
	copy(answer[8:header], []byte{0, 0, 0, 0})
	return answer
}
