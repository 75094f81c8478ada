// Package nameserver is a DNS server for tests and measurements, over UDP and TCP on the system's loopback.
package nameserver

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// A Reply is the response to a question.
type Reply struct {
	Rcode   byte
	Records []Record
	// Silent: there is no response.
	Silent bool
	// Cut: over UDP, the response is truncated.
	Cut bool
	// After delays the response over UDP.
	After time.Duration
}

// A Record has the data of a record in its wire form.
type Record struct {
	Owner string // with the final dot; empty: the name of the question
	Type  dns.Type
	TTL   uint32 // in seconds
	Data  []byte
}

// Response codes.
const (
	ServFail = 2
	NXDomain = 3
)

// Address returns an A or AAAA record.
func Address(text string, ttl uint32) Record {
	a := netip.MustParseAddr(text)
	t := dns.TypeAAAA
	if a.Is4() {
		t = dns.TypeA
	}
	return Record{Type: t, TTL: ttl, Data: a.AsSlice()}
}

// Target returns a record of a type whose data is a name, after prefix: CNAME, NS, PTR, MX, SRV.
func Target(t dns.Type, ttl uint32, name string, prefix ...byte) Record {
	return Record{Type: t, TTL: ttl, Data: append(prefix, wireName(name)...)}
}

// Text returns a TXT record of one string of at most 255 octets.
func Text(ttl uint32, text string) Record {
	return Record{Type: dns.TypeTXT, TTL: ttl, Data: append([]byte{byte(len(text))}, text...)}
}

// wireName returns a name, which has no escapes, in its wire form.
func wireName(text string) []byte {
	var b []byte
	for start, i := 0, 0; i < len(text); i++ {
		if text[i] == '.' {
			if i > start {
				b = append(append(b, byte(i-start)), text[start:i]...)
			}
			start = i + 1
		}
	}
	return append(b, 0)
}

// An Answer returns the reply to a question. The name is in lower case and ends with a dot. It is called on a loop.
type Answer func(name string, t dns.Type) Reply

const (
	// bindAttempts is how often Serve tries to find a port that is free for both UDP and TCP.
	bindAttempts = 20
	stopPatience = time.Second
	// receiveBytes is for the queries of many lookups that begin together.
	receiveBytes = 4 << 20
)

// Start starts a server, which the end of the test stops.
func Start(t testing.TB, answer Answer) netip.AddrPort {
	t.Helper()
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
		defer cancel()
		g.Shutdown(ctx)
	})
	addr, err := Serve(g, "127.0.0.1:0", answer)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// Serve starts a server at an address, on a group, with which it ends; port 0 is any that is free.
func Serve(g *loop.Group, address string, answer Answer) (addr netip.AddrPort, err error) {
	s := &server{answer}
	for range bindAttempts {
		packets, err := g.ListenPacket("udp", address, func(*loop.PacketConn) loop.PacketHandler { return s }, sock.ReadBuffer(receiveBytes))
		if err != nil {
			return addr, err
		}
		_, err = g.Listen("tcp", packets.Addr().String(), func(*loop.Conn) loop.Handler { return s })
		if err == nil {
			return netip.ParseAddrPort(packets.Addr().String())
		}
		packets.Close() // another process has the port of TCP
	}
	return addr, fmt.Errorf("no port of %s is free for both UDP and TCP", address)
}

type server struct{ answer Answer }

var (
	_ loop.PacketHandler = (*server)(nil)
	_ loop.Handler       = (*server)(nil)
)

// Packets implements loop.PacketHandler.
func (s *server) Packets(p *loop.PacketConn, ms []sock.Message) {
	for i := range ms {
		addr := ms[i].Addr
		switch response, after := s.response(ms[i].Data[:ms[i].N], true); {
		case response == nil:
		case after > 0:
			p.Loop().AfterFunc(after, func() { p.WriteTo(response, addr) })
		default:
			p.WriteTo(response, addr) // the client repeats what is lost
		}
	}
}

// lengthBytes is the size of the length before each message of a stream.
const lengthBytes = 2

// Data implements loop.Handler.
func (s *server) Data(c *loop.Conn, b []byte) (consumed int, err error) {
	for {
		rest := b[consumed:]
		if len(rest) < lengthBytes || len(rest) < lengthBytes+int(binary.BigEndian.Uint16(rest)) {
			return consumed, nil
		}
		end := lengthBytes + int(binary.BigEndian.Uint16(rest))
		if response, _ := s.response(rest[lengthBytes:end], false); response != nil {
			if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(response))), response...)); err != nil {
				return consumed, err
			}
		}
		consumed += end
	}
}

// Offsets and flags of a message's header (RFC 1035, section 4.1.1).
const (
	headerBytes = 12
	flagsAt     = 2
	answersAt   = 6
	authorityAt = 8

	flagResponse, flagTruncated, flagDesired, flagAvailable = 1 << 15, 1 << 9, 1 << 8, 1 << 7
)

// response returns the response to a query, or nil, and its delay.
func (s *server) response(query []byte, overUDP bool) ([]byte, time.Duration) {
	end, name := question(query)
	if end == 0 {
		return nil, 0
	}
	r := s.answer(name, dns.Type(binary.BigEndian.Uint16(query[end-4:])))
	if r.Silent {
		return nil, 0
	}
	b := append(make([]byte, 0, 512), query[:end]...)
	flags := flagResponse | flagDesired | flagAvailable | uint16(r.Rcode)
	clear(b[answersAt:headerBytes])
	if r.Cut && overUDP {
		binary.BigEndian.PutUint16(b[flagsAt:], flags|flagTruncated)
		return b, r.After
	}
	binary.BigEndian.PutUint16(b[flagsAt:], flags)
	binary.BigEndian.PutUint16(b[answersAt:], uint16(len(r.Records)))
	for _, rec := range r.Records {
		b = rec.append(b)
	}
	if len(r.Records) == 0 && (r.Rcode == 0 || r.Rcode == NXDomain) {
		binary.BigEndian.PutUint16(b[authorityAt:], 1)
		soa := Record{Owner: ".", Type: dns.TypeSOA, TTL: negativeTTL, Data: soaData()}
		b = soa.append(b)
	}
	return b, r.After
}

// negativeTTL is the TTL of responses without records, in seconds.
const negativeTTL = 30

// soaData returns the data of an SOA record with negativeTTL as minimum (RFC 2308).
func soaData() []byte {
	const namesAndTimes = 2 + 4*4
	return binary.BigEndian.AppendUint32(make([]byte, namesAndTimes), negativeTTL)
}

func (r *Record) append(b []byte) []byte {
	if r.Owner == "" {
		b = append(b, 0xc0, headerBytes) // a pointer to the name of the question
	} else {
		b = append(b, wireName(r.Owner)...)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(r.Type))
	b = binary.BigEndian.AppendUint16(b, 1) // IN
	b = binary.BigEndian.AppendUint32(b, r.TTL)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Data)))
	return append(b, r.Data...)
}

// question returns where the question of a query ends, and its name; or 0.
func question(query []byte) (end int, name string) {
	if len(query) < headerBytes {
		return 0, ""
	}
	var b []byte
	at := headerBytes
	for at < len(query) && query[at] != 0 {
		next := at + 1 + int(query[at])
		if next > len(query) {
			return 0, ""
		}
		for _, c := range query[at+1 : next] {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			b = append(b, c)
		}
		b = append(b, '.')
		at = next
	}
	if end = at + 1 + 4; end > len(query) {
		return 0, ""
	}
	if b == nil {
		b = []byte{'.'}
	}
	return end, string(b)
}
