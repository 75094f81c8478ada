package dnstest

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
)

// headerBytes is the length of the header of a message; the name of the question follows.
const headerBytes = 12

// A tap passes datagrams on to a server, one at a time, and notes them.
type tap struct {
	addr netip.AddrPort

	mu                 sync.Mutex
	queries, responses [][]byte
}

func startTap(t *testing.T, server netip.AddrPort) *tap {
	t.Helper()
	pc := must(net.ListenPacket("udp", "127.0.0.1:0"))
	up := must(net.Dial("udp", server.String()))
	p := &tap{addr: netip.MustParseAddrPort(pc.LocalAddr().String())}
	done := make(chan struct{})
	t.Cleanup(func() {
		pc.Close()
		up.Close()
		<-done
	})
	go func() {
		defer close(done)
		b := make([]byte, 1<<16)
		for {
			n, client, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			p.note(&p.queries, b[:n])
			if _, err := up.Write(b[:n]); err != nil {
				return
			}
			if err := up.SetReadDeadline(time.Now().Add(testkit.Watchdog)); err != nil {
				return
			}
			if n, err = up.Read(b); err != nil {
				return
			}
			p.note(&p.responses, b[:n])
			if _, err := pc.WriteTo(b[:n], client); err != nil {
				return
			}
		}
	}()
	return p
}

func (p *tap) note(list *[][]byte, msg []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*list = append(*list, append([]byte(nil), msg...))
}

// count returns the number of queries.
func (p *tap) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queries)
}

// noted returns the queries and the responses, in their order.
func (p *tap) noted() (queries, responses [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.queries), slices.Clone(p.responses)
}

// questionName returns the name of the question, in wire format.
func questionName(msg []byte) string {
	end := headerBytes
	for msg[end] != 0 {
		end += 1 + int(msg[end])
	}
	return string(msg[headerBytes : end+1])
}

// hasEDNS reports whether a message has a record in the last section: only OPT is there in queries.
func hasEDNS(query []byte) bool { return binary.BigEndian.Uint16(query[10:]) == 1 }
