package main

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"slices"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

const serverAddr = "127.0.0.153"

var seed = maphash.MakeSeed()

// server answers each query for A and AAAA records with one address; names that begin with "slow"
// after the delay.
type server struct {
	out     []sock.Message // the responses of a batch
	buffers [][]byte
}

func startServer() {
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	check(err)
	_, err = g.ListenPacket("udp", serverAddr+":53", func(*loop.PacketConn) loop.PacketHandler { return &server{} }, sock.ReadBuffer(8<<20))
	check(err)
}

// Packets implements loop.PacketHandler.
func (s *server) Packets(p *loop.PacketConn, ms []sock.Message) {
	s.out = s.out[:0]
	for i := range ms {
		if len(s.buffers) == i {
			s.buffers = append(s.buffers, make([]byte, 0, 512))
		}
		b, ok := appendResponse(s.buffers[i][:0], ms[i].Data)
		switch {
		case !ok:
		case bytes.EqualFold(b[13:17], []byte("slow")):
			later(p, slices.Clone(b), ms[i].Addr)
		default:
			s.out = append(s.out, sock.Message{Data: b, Addr: ms[i].Addr})
		}
	}
	if len(s.out) > 0 {
		p.WriteBatch(s.out) // a response that is lost is asked for again
	}
}

func later(p *loop.PacketConn, b []byte, to netip.AddrPort) {
	p.Loop().AfterFunc(*delay, func() { p.WriteTo(b, to) })
}

// appendResponse appends the response to a query. The queries are those of resolvers: their names are
// not compressed.
func appendResponse(b, query []byte) ([]byte, bool) {
	const headerBytes, typeA, typeAAAA, ttl = 12, 1, 28, 300
	at := headerBytes
	for at < len(query) && query[at] != 0 {
		at += 1 + int(query[at])
	}
	end := at + 5
	if end > len(query) {
		return nil, false
	}
	b = append(b, query[:end]...)
	binary.BigEndian.PutUint16(b[2:], 0x8180) // QR RD RA
	copy(b[6:headerBytes], []byte{0, 1, 0, 0, 0, 0})
	typ := binary.BigEndian.Uint16(query[at+1:])
	b = append(b, 0xc0, headerBytes, 0, byte(typ), 0, 1)
	b = binary.BigEndian.AppendUint32(b, ttl)
	host := maphash.Bytes(seed, bytes.ToLower(query[headerBytes:at])) // each name has other addresses
	switch typ {
	case typeA:
		return append(b, 0, 4, 198, 18, byte(host>>8), byte(host)), true
	case typeAAAA:
		b = append(b, 0, 16, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0)
		return binary.BigEndian.AppendUint64(b, host), true
	}
	return nil, false
}
