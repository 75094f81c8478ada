package exchange

import (
	"encoding/binary"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
)

// Names are asked for in a random case, with random IDs, from several ports.
func TestUnpredictable(t *testing.T) {
	names, ids := map[string]bool{}, map[uint16]bool{}
	s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message {
		names[string(q[exchangetest.QuestionOffset:exchangetest.QuestionEnd(q)])] = true
		ids[binary.BigEndian.Uint16(q)] = true
		return exchangetest.Honest(q)
	}}
	onTestNet(t, func(n *testNet) {
		const queries, long = 60, "a-name-with-so-many-letters-that-no-case-occurs-twice.example.com"
		for range queries {
			n.ask(long)
		}
		if len(names) < queries-1 || len(ids) < queries-1 || len(s.Ports) != DefaultSockets {
			t.Errorf("%d spellings, %d IDs, %d ports of %d queries", len(names), len(ids), len(s.Ports), queries)
		}
		time.Sleep(2 * socketAge)
		if open := n.Client.Descriptors(); open != 0 {
			t.Errorf("%d sockets are open that are older than socketAge", open)
		}
		n.ask(long)
		if len(s.Ports) != DefaultSockets+1 {
			t.Errorf("%d ports, want another one", len(s.Ports))
		}
	}, s)
}

// A socket is retired after its quota of queries, and closed when the last of them has ended.
func TestSocketQuota(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Honest}
	onTestNet(t, func(n *testNet) {
		n.x.random = sameSocket()
		for range socketQueries + 1 {
			n.wantAddr(n.ask("a"), exchangetest.TrueAddr)
		}
		if len(s.Ports) != 2 {
			t.Errorf("%d ports, want 2", len(s.Ports))
		}
	}, s)
}

// An ID that is in flight is not used for another query.
func TestUniqueID(t *testing.T) {
	next := uint64(5)
	x := &Exchanger{random: func() uint64 { next++; return next / 2 }}
	q := &Query{x: x, question: dnswire.Question{Name: must(dnswire.ParseName("a")), Type: dnswire.TypeA}, policy: &Policy{}}
	inFlight := tableOf(3, 4)
	tr := &transmission{q: q}
	if _, err := tr.appendQuery(nil, &inFlight); err != nil || tr.sent.ID != 5 {
		t.Errorf("ID %d, %v, want 5", tr.sent.ID, err)
	}
}

// A datagram that is longer than the buffer counts as truncated.
func TestTooLong(t *testing.T) {
	s := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message {
		return []exchangetest.Message{append(exchangetest.AnswerTo(q, exchangetest.TrueAddr), make([]byte, 3000)...)}
	}, TCP: exchangetest.HonestTCP}
	onTestNet(t, func(n *testNet) {
		if r := n.ask("www.example.com"); r.Err != nil || !r.TCP {
			t.Errorf("%v, over TCP %v", r.Err, r.TCP)
		}
	}, s)
}

// Without descriptors for another socket, queries use those that exist; without any, the attempts fail.
func TestNoDescriptors(t *testing.T) {
	s := &exchangetest.Server{UDP: exchangetest.Honest}
	onTestNet(t, func(n *testNet) {
		n.Client.SetMaxDescriptors(1)
		for range 20 {
			n.wantAddr(n.ask("www.example.com"), exchangetest.TrueAddr)
		}
		time.Sleep(2 * socketAge)
		n.Client.SetMaxDescriptors(0)
		if r := n.ask("www.example.com"); !errors.Is(r.Err, syscall.EMFILE) {
			t.Errorf("%v, want EMFILE", r.Err)
		}
		n.Client.SetMaxDescriptors(100)
	}, s)
}

// A query that goes on over TCP, after the last socket of its server was retired, ends with the exchanger.
func TestRetiredMeanwhile(t *testing.T) {
	s := &exchangetest.Server{
		UDP: func(q []byte) []exchangetest.Message {
			time.Sleep(time.Second)
			return []exchangetest.Message{exchangetest.AnswerTo(q).Truncated()}
		},
		TCP: func(net.Conn, []byte) {},
	}
	onTestNet(t, func(n *testNet) {
		replies := make(chan Reply, 1)
		n.Run(func() {
			u := n.start("a", replies).current.socket
			u.retire()
		})
		time.Sleep(2 * time.Second)
		n.Run(func() {
			if n.x.servers[0].open != 1 {
				t.Errorf("%d sockets and streams, want the stream", n.x.servers[0].open)
			}
			n.x.Close()
		})
		<-replies
	}, s)
}
