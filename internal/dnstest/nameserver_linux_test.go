package dnstest

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/testkit"
)

// A behaviour is what a name server does with a query.
type behaviour int

const (
	forwards behaviour = iota
	isSilent
	fails // with SERVFAIL
)

// A journal has the queries of all name servers since it was last cut.
type journal struct {
	mu      sync.Mutex
	entries []string
}

func (j *journal) add(entry string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, entry)
}

// cut returns the entries, sorted: questions for A and AAAA are asked at the same time.
func (j *journal) cut() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	entries := j.entries
	j.entries = nil
	slices.Sort(entries)
	return entries
}

// A nameServer listens at a port 53, notes queries, and passes them on to another server.
type nameServer struct {
	addr     netip.AddrPort
	upstream netip.AddrPort
	does     behaviour
	journal  *journal
}

func (s *nameServer) start(t *testing.T) {
	t.Helper()
	pc := must(net.ListenPacket("udp", s.addr.String()))
	ln := must(net.Listen("tcp", s.addr.String()))
	t.Cleanup(func() {
		pc.Close()
		ln.Close()
	})
	go func() {
		for {
			b := make([]byte, dnswire.MaxMessageBytes)
			n, client, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			go func() {
				if answer := s.answer("udp", b[:n]); answer != nil {
					_, _ = pc.WriteTo(answer, client)
				}
			}()
		}
	}()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
}

func (s *nameServer) serve(c net.Conn) {
	defer c.Close()
	for {
		query, err := readFrame(c)
		if err != nil {
			return
		}
		if answer := s.answer("tcp", query); answer != nil {
			if _, err := c.Write(frame(answer)); err != nil {
				return
			}
		}
	}
}

// answer notes a query, and returns the answer, or nil for silence.
func (s *nameServer) answer(transport string, query []byte) []byte {
	s.journal.add(s.describe(transport, query))
	switch s.does {
	case isSilent:
		return nil
	case fails:
		answer := append([]byte(nil), query...)
		answer[2] |= 0x80
		answer[3] = answer[3]&0xf0 | byte(dnswire.RcodeServerFailure)
		return answer
	}
	c, err := net.Dial(transport, s.upstream.String())
	if err != nil {
		return nil
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(testkit.Watchdog)); err != nil {
		return nil
	}
	if transport == "tcp" {
		if _, err := c.Write(frame(query)); err != nil {
			return nil
		}
		answer, _ := readFrame(c)
		return answer
	}
	if _, err := c.Write(query); err != nil {
		return nil
	}
	b := make([]byte, dnswire.MaxMessageBytes)
	n, err := c.Read(b)
	if err != nil {
		return nil
	}
	return b[:n]
}

// describe returns the entry of a query: whom it asks, how, and what for. The bits are RD and AD.
func (s *nameServer) describe(transport string, query []byte) string {
	name := questionName(query)
	typ := binary.BigEndian.Uint16(query[headerBytes+len(name):])
	const bitRD, bitAD = 1 << 8, 1 << 5
	flags := binary.BigEndian.Uint16(query[2:])
	entry := fmt.Sprintf("%s %s %s %v", s.addr.Addr(), transport, strings.ToLower(dnswire.Name(name).String()), dnswire.Type(typ))
	if flags&bitRD == 0 {
		entry += " without RD"
	}
	if flags&bitAD != 0 {
		entry += " AD"
	}
	if !hasEDNS(query) {
		entry += " without EDNS"
	}
	return entry
}

// frame returns a message with its length, as TCP has it.
func frame(msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
}

func readFrame(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, msg)
	return msg, err
}
