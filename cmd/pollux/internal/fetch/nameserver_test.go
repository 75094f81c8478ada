package fetch

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// A response is how a name server answers: by an RCODE without records (RFC 1035, 4.1.1), or not at all.
type response int

const (
	noError    response = 0
	noSuchName response = 3
	silence    response = -1
)

// nameServer starts a name server on the loopback interface, and returns its address. Names are in lower
// case, and end with a dot.
func nameServer(t *testing.T, answer func(name string) response) []netip.AddrPort {
	t.Helper()
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Shutdown(t.Context()) })
	pl, err := g.ListenPacket("udp", "127.0.0.1:0", func(*loop.PacketConn) loop.PacketHandler { return nameHandler(answer) })
	if err != nil {
		t.Fatal(err)
	}
	return []netip.AddrPort{pl.Addr().(*net.UDPAddr).AddrPort()}
}

type nameHandler func(name string) response

func (answer nameHandler) Packets(p *loop.PacketConn, ms []sock.Message) {
	for _, m := range ms {
		if m.N <= headerBytes {
			continue
		}
		name, question := questionOf(m.Data[headerBytes:m.N])
		r := answer(name)
		if r == silence {
			continue
		}
		b := slices.Clone(m.Data[:headerBytes+len(question)])
		b[2] |= 0x80          // QR
		b[3] = 0x80 | byte(r) // RA
		clear(b[6:headerBytes])
		p.WriteTo(b, m.Addr)
	}
}

// headerBytes is the length of a message's header.
const headerBytes = 12

// questionOf returns the name of the question at the start of b, and the question.
func questionOf(b []byte) (name string, question []byte) {
	at := 0
	for b[at] != 0 {
		end := at + 1 + int(b[at])
		name += strings.ToLower(string(b[at+1:end])) + "."
		at = end
	}
	return name, b[:at+1+4]
}
