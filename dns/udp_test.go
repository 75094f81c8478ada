package dns

import (
	"encoding/binary"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
)

// Names are asked for in a random case, with random IDs, from several ports.
func TestUnpredictable(t *testing.T) {
	names, ids := map[string]bool{}, map[uint16]bool{}
	s := &testServer{udp: func(q []byte) []answer {
		names[string(q[answerOffset:questionEnd(q)])] = true
		ids[binary.BigEndian.Uint16(q)] = true
		return honest(q)
	}}
	onTestNet(t, func(n *testNet) {
		const queries, long = 60, "a-name-with-so-many-letters-that-no-case-occurs-twice.example.com"
		for range queries {
			n.ask(long)
		}
		if len(names) < queries-1 || len(ids) < queries-1 || len(s.ports) != socketsPerServer {
			t.Errorf("%d spellings, %d IDs, %d ports of %d queries", len(names), len(ids), len(s.ports), queries)
		}
		time.Sleep(2 * socketAge)
		if open := n.client.Descriptors(); open != 0 {
			t.Errorf("%d sockets are open that are older than socketAge", open)
		}
		n.ask(long)
		if len(s.ports) != socketsPerServer+1 {
			t.Errorf("%d ports, want another one", len(s.ports))
		}
	}, s)
}

// A socket is retired after its quota of queries, and closed when the last of them has ended.
func TestSocketQuota(t *testing.T) {
	s := &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		n.x.random = sameSocket()
		for range socketQueries + 1 {
			n.wantAddr(n.ask("a"), trueAddr)
		}
		if len(s.ports) != 2 {
			t.Errorf("%d ports, want 2", len(s.ports))
		}
	}, s)
}

// An ID that is in flight is not used for another query.
func TestUniqueID(t *testing.T) {
	next := uint64(5)
	x := &exchanger{random: func() uint64 { next++; return next / 2 }}
	q := &query{x: x, question: dnswire.Question{Name: must(dnswire.ParseName("a")), Type: dnswire.TypeA}, policy: &policy{}}
	inFlight := tableOf(3, 4)
	tr := &transmission{q: q}
	if _, err := tr.appendQuery(nil, &inFlight); err != nil || tr.sent.ID != 5 {
		t.Errorf("ID %d, %v, want 5", tr.sent.ID, err)
	}
}

// A datagram that is longer than the buffer counts as truncated.
func TestTooLong(t *testing.T) {
	s := &testServer{udp: func(q []byte) []answer { return []answer{append(answerTo(q, trueAddr), make([]byte, 3000)...)} }, tcp: honestTCP}
	onTestNet(t, func(n *testNet) {
		if r := n.ask("www.example.com"); r.err != nil || !r.tcp {
			t.Errorf("%v, over TCP %v", r.err, r.tcp)
		}
	}, s)
}

// Without descriptors for another socket, queries use those that exist; without any, the attempts fail.
func TestNoDescriptors(t *testing.T) {
	s := &testServer{udp: honest}
	onTestNet(t, func(n *testNet) {
		n.client.SetMaxDescriptors(1)
		for range 20 {
			n.wantAddr(n.ask("www.example.com"), trueAddr)
		}
		time.Sleep(2 * socketAge)
		n.client.SetMaxDescriptors(0)
		if r := n.ask("www.example.com"); !errors.Is(r.err, syscall.EMFILE) {
			t.Errorf("%v, want EMFILE", r.err)
		}
		n.client.SetMaxDescriptors(100)
	}, s)
}

// A query that goes on over TCP, after the last socket of its server was retired, ends with the exchanger.
func TestRetiredMeanwhile(t *testing.T) {
	s := &testServer{
		udp: func(q []byte) []answer { time.Sleep(time.Second); return []answer{answerTo(q).truncated()} },
		tcp: func(net.Conn, []byte) {},
	}
	onTestNet(t, func(n *testNet) {
		replies := make(chan reply, 1)
		n.run(func() {
			u := n.start("a", replies).current.socket
			u.retire()
		})
		time.Sleep(2 * time.Second)
		n.run(func() {
			if n.x.servers[0].open != 1 {
				t.Errorf("%d sockets and streams, want the stream", n.x.servers[0].open)
			}
			n.x.close()
		})
		<-replies
	}, s)
}
